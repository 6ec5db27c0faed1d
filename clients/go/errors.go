package feast

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
)

// Error is what a server answered instead of features, or why it could not be asked.
type Error struct {
	// Code says what kind of failure it is; over HTTP it is the counterpart of the status.
	Code codes.Code
	// Class names the exception of feast.errors, such as FeatureViewNotFoundException; empty where none is told.
	Class string
	// Message is for people.
	Message string

	retryAfter time.Duration
}

func (e *Error) Error() string {
	if e.Class == "" {
		return fmt.Sprintf("feast: %s: %s", e.Code, e.Message)
	}
	return fmt.Sprintf("feast: %s (%s): %s", e.Code, e.Class, e.Message)
}

// CodeOf returns the code of an [Error], codes.OK for nil, and codes.Unknown for any other error.
func CodeOf(err error) codes.Code {
	if err == nil {
		return codes.OK
	}
	var failed *Error
	if errors.As(err, &failed) {
		return failed.Code
	}
	return codes.Unknown
}

// NullError is what [Get] returns where there is no value.
type NullError struct {
	Column string
	Row    int
	// Status says why.
	Status Status
}

func (e *NullError) Error() string {
	return fmt.Sprintf("feast: column %q has no value in row %d: %s", e.Column, e.Row, e.Status)
}
