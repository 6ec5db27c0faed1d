package feast

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"
)

// Status says of a value whether it is there, and if not, why.
type Status int

// Statuses of values.
const (
	Invalid Status = iota
	// Present values are there.
	Present
	// NullValue: null was stored, or computed.
	NullValue
	// NotFound: the entity has no such value.
	NotFound
	// OutsideMaxAge: the value is older than its view's ttl, and is not given.
	OutsideMaxAge
)

var statusNames = []string{"INVALID", "PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE"}

func (s Status) String() string {
	if s < 0 || int(s) >= len(statusNames) {
		return fmt.Sprintf("Status(%d)", int(s))
	}
	return statusNames[s]
}

func statusNamed(name string) Status {
	if index := slices.Index(statusNames, name); index >= 0 {
		return Status(index)
	}
	return Invalid
}

// Column is one column of a response.
type Column struct {
	Name string
	// Values has one value per row, nil for null. Over gRPC they have the type of the feature (int64, int32, float64,
	// float32, string, bool, []byte, time.Time, slices and maps of these); over HTTP what JSON says (json.Number, string,
	// bool, []any, map[string]any). [Get] reads both alike.
	Values []any
	// Statuses has one status per row.
	Statuses []Status
	// EventTimes has one time per row; the zero time for join keys, computed features, and where there is no row.
	EventTimes []time.Time
}

// Response has the features of the entities of a request, in their order.
type Response struct {
	// Columns are join keys first, then features in the order asked for, then features of on-demand views.
	Columns []Column
}

// Rows returns the number of rows.
func (r *Response) Rows() int {
	if len(r.Columns) == 0 {
		return 0
	}
	return len(r.Columns[0].Values)
}

// Column returns a column by its name; nil if there is none.
func (r *Response) Column(name string) *Column {
	for index := range r.Columns {
		if r.Columns[index].Name == name {
			return &r.Columns[index]
		}
	}
	return nil
}

// Status returns the status of a value; Invalid if there is no such column or row.
func (r *Response) Status(name string, row int) Status {
	column := r.Column(name)
	if column == nil || row < 0 || row >= len(column.Statuses) {
		return Invalid
	}
	return column.Statuses[row]
}

// Kind lists the types that [Get] returns.
type Kind interface {
	int64 | float64 | string | bool | []byte | time.Time | []int64 | []float64 | []string | []bool
}

// Get returns a value as a Go type. It returns a [*NullError] where there is none, and another error if the value is
// not of the type, or there is no such column or row.
func Get[T Kind](r *Response, name string, row int) (T, error) {
	var value T
	column := r.Column(name)
	if column == nil {
		return value, fmt.Errorf("feast: the response has no column %q", name)
	}
	if row < 0 || row >= len(column.Values) {
		return value, fmt.Errorf("feast: column %q has no row %d; it has %d rows", name, row, len(column.Values))
	}
	given := column.Values[row]
	if given == nil {
		return value, &NullError{Column: name, Row: row, Status: r.Status(name, row)}
	}
	if !assign(&value, given) {
		return value, fmt.Errorf("feast: column %q holds %T in row %d, which is no %T", name, given, row, value)
	}
	return value, nil
}

func assign(target, given any) bool {
	var ok bool
	switch target := target.(type) {
	case *int64:
		*target, ok = asInt(given)
	case *float64:
		*target, ok = asFloat(given)
	case *string:
		*target, ok = given.(string)
	case *bool:
		*target, ok = given.(bool)
	case *[]byte:
		*target, ok = asBytes(given)
	case *time.Time:
		*target, ok = asTime(given)
	case *[]int64:
		*target, ok = asSlice(given, asInt)
	case *[]float64:
		*target, ok = asSlice(given, asFloat)
	case *[]string:
		*target, ok = asSlice(given, func(item any) (string, bool) { text, is := item.(string); return text, is })
	case *[]bool:
		*target, ok = asSlice(given, func(item any) (bool, bool) { flag, is := item.(bool); return flag, is })
	}
	return ok
}

func asInt(given any) (int64, bool) {
	switch given := given.(type) {
	case int64:
		return given, true
	case int32:
		return int64(given), true
	case json.Number:
		number, err := given.Int64()
		return number, err == nil
	}
	return 0, false
}

func asFloat(given any) (float64, bool) {
	switch given := given.(type) {
	case float64:
		return given, true
	case float32:
		return float64(given), true
	case int32:
		return float64(given), true
	case int64:
		return float64(given), true
	case json.Number:
		number, err := given.Float64()
		return number, err == nil
	case string:
		// What JSON has no numbers for.
		switch given {
		case "NaN":
			return math.NaN(), true
		case "Infinity":
			return math.Inf(1), true
		case "-Infinity":
			return math.Inf(-1), true
		}
	}
	return 0, false
}

func asBytes(given any) ([]byte, bool) {
	switch given := given.(type) {
	case []byte:
		return given, true
	case string:
		decoded, err := base64.StdEncoding.DecodeString(given)
		return decoded, err == nil
	}
	return nil, false
}

func asTime(given any) (time.Time, bool) {
	switch given := given.(type) {
	case time.Time:
		return given, true
	case json.Number:
		seconds, err := given.Int64()
		return time.Unix(seconds, 0).UTC(), err == nil
	case string:
		moment, err := time.Parse(time.RFC3339Nano, given)
		return moment, err == nil
	}
	return time.Time{}, false
}

func asSlice[T any](given any, item func(any) (T, bool)) ([]T, bool) {
	items, is := given.([]any)
	if !is {
		return nil, false
	}
	converted := make([]T, len(items))
	for index, each := range items {
		value, ok := item(each)
		if !ok {
			return nil, false
		}
		converted[index] = value
	}
	return converted, true
}
