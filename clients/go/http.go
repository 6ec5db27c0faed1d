package feast

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
)

// NewHTTP returns a client that speaks HTTP to a server such as "http://localhost:6566".
func NewHTTP(baseURL string, options ...Option) (*Client, error) {
	s := settled(options)
	base, err := url.Parse(strings.TrimRight(baseURL, "/"))
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, fmt.Errorf("feast: %q is no URL of http or https", baseURL)
	}
	if s.token != nil && base.Scheme != "https" && !s.plainToken {
		return nil, errPlainToken
	}
	client := s.httpClient
	if client == nil {
		pool := http.DefaultTransport.(*http.Transport).Clone()
		pool.TLSClientConfig = cloned(s.tls)
		pool.MaxIdleConnsPerHost = 64
		client = &http.Client{Transport: pool}
	}
	return &Client{transport: &httpTransport{base: base.String(), client: client, token: s.token}, settings: s}, nil
}

type httpTransport struct {
	base   string
	client *http.Client
	token  TokenSource
}

// ask sends JSON and returns the body of the answer.
func (t *httpTransport) ask(ctx context.Context, method, path string, body any) ([]byte, error) {
	var sent io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("feast: %w", err)
		}
		sent = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, t.base+path, sent)
	if err != nil {
		return nil, fmt.Errorf("feast: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	if t.token != nil {
		token, err := t.token(ctx)
		if err != nil {
			return nil, fmt.Errorf("feast: no token: %w", err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := t.client.Do(request)
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	if answer.StatusCode >= 300 {
		return nil, refusal(answer, text)
	}
	return text, nil
}

func unreachable(ctx context.Context, err error) error {
	code := codes.Unavailable
	switch {
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	case errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil:
		code = codes.DeadlineExceeded
	}
	return &Error{Code: code, Message: err.Error()}
}

var codeOfStatus = map[int]codes.Code{
	http.StatusBadRequest:            codes.InvalidArgument,
	http.StatusUnauthorized:          codes.Unauthenticated,
	http.StatusForbidden:             codes.PermissionDenied,
	http.StatusNotFound:              codes.NotFound,
	http.StatusRequestTimeout:        codes.DeadlineExceeded,
	http.StatusConflict:              codes.Aborted,
	http.StatusRequestEntityTooLarge: codes.ResourceExhausted,
	http.StatusUnprocessableEntity:   codes.InvalidArgument,
	http.StatusTooManyRequests:       codes.Unavailable,
	http.StatusInternalServerError:   codes.Internal,
	http.StatusNotImplemented:        codes.Unimplemented,
	http.StatusBadGateway:            codes.Unavailable,
	http.StatusServiceUnavailable:    codes.Unavailable,
	http.StatusGatewayTimeout:        codes.DeadlineExceeded,
}

// refusal reads a failure: JSON text whose content is JSON again, as Feast's server answers, or another body.
func refusal(answer *http.Response, body []byte) *Error {
	failed := &Error{Code: codes.Unknown, Message: strings.TrimSpace(string(body))}
	if code, known := codeOfStatus[answer.StatusCode]; known {
		failed.Code = code
	}
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && seconds >= 0 {
		failed.retryAfter = time.Duration(seconds) * time.Second
	}
	var text string
	var detail struct{ Class, Message string }
	if json.Unmarshal(body, &text) == nil && json.Unmarshal([]byte(text), &detail) == nil && detail.Message != "" {
		failed.Class, failed.Message = detail.Class, detail.Message
	}
	if strings.HasSuffix(failed.Class, "NotFoundException") {
		failed.Code = codes.NotFound
	}
	if failed.Message == "" {
		failed.Message = answer.Status
	}
	return failed
}

func (t *httpTransport) onlineFeatures(ctx context.Context, request Request) (*Response, error) {
	entities, err := plainColumns(request.Entities)
	if err != nil {
		return nil, err
	}
	sent := map[string]any{"entities": entities, "full_feature_names": request.FullNames}
	if request.Service != "" {
		sent["feature_service"] = request.Service
	} else {
		sent["features"] = append([]string{}, request.Features...)
	}
	body, err := t.ask(ctx, http.MethodPost, "/get-online-features", sent)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Metadata struct {
			FeatureNames []string `json:"feature_names"`
		}
		Results []struct {
			Values     []any
			Statuses   []string
			EventTimes []time.Time `json:"event_timestamps"`
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	// Integers keep all their digits.
	decoder.UseNumber()
	if err := decoder.Decode(&answer); err != nil {
		return nil, &Error{Code: codes.Internal, Message: "the answer is no JSON of features: " + err.Error()}
	}
	names := answer.Metadata.FeatureNames
	if len(names) != len(answer.Results) {
		return nil, &Error{Code: codes.Internal, Message: "the server names other columns than it returns"}
	}
	response := &Response{Columns: make([]Column, len(names))}
	for index, result := range answer.Results {
		column := Column{Name: names[index], Values: result.Values, EventTimes: result.EventTimes}
		column.Statuses = make([]Status, len(result.Statuses))
		for row, name := range result.Statuses {
			column.Statuses[row] = statusNamed(name)
		}
		for row, at := range column.EventTimes {
			if at.Unix() == 0 && at.Nanosecond() == 0 {
				column.EventTimes[row] = time.Time{}
			}
		}
		response.Columns[index] = column
	}
	return response, nil
}

func plainColumns(columns Columns) (map[string][]any, error) {
	converted := make(map[string][]any, len(columns))
	for name, values := range columns {
		converted[name] = make([]any, len(values))
		for index, value := range values {
			given, err := plain(value)
			if err != nil {
				return nil, err
			}
			if holdsBytes(given) {
				return nil, fmt.Errorf("feast: column %q holds bytes, which JSON cannot; send them over gRPC", name)
			}
			converted[name][index] = given
		}
	}
	return converted, nil
}

func holdsBytes(value any) bool {
	switch value := value.(type) {
	case []byte:
		return true
	case []any:
		return slices.ContainsFunc(value, holdsBytes)
	}
	return false
}

func (t *httpTransport) push(ctx context.Context, source string, mode PushMode, rows Columns) error {
	return t.write(ctx, "/push", rows, map[string]any{"push_source_name": source, "to": string(mode)})
}

func (t *httpTransport) writeToOnlineStore(ctx context.Context, view string, rows Columns) error {
	return t.write(ctx, "/write-to-online-store", rows, map[string]any{"feature_view_name": view})
}

func (t *httpTransport) write(ctx context.Context, path string, rows Columns, body map[string]any) error {
	if _, err := rowCount(rows); err != nil {
		return err
	}
	columns, err := plainColumns(rows)
	if err != nil {
		return err
	}
	body["df"] = columns
	_, err = t.ask(ctx, http.MethodPost, path, body)
	return err
}

func (t *httpTransport) ready(ctx context.Context) error {
	_, err := t.ask(ctx, http.MethodGet, "/ready", nil)
	return err
}

func (t *httpTransport) close() error {
	t.client.CloseIdleConnections()
	return nil
}
