package feast_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	feast "github.com/feast-assets/feast-assets/clients/go"
)

var anyRequest = feast.Request{Features: []string{"stats:trips"}, Entities: feast.Columns{"driver_id": {1}}}

// refusingHTTP answers with statuses, one after the other, and then with no rows; it notes what was asked.
func refusingHTTP(t *testing.T, asked *atomic.Int32, headers *http.Header, statuses ...int) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		number := int(asked.Add(1)) - 1
		if headers != nil {
			*headers = request.Header.Clone()
		}
		if number < len(statuses) {
			answer.Header().Set("Retry-After", "0")
			answer.WriteHeader(statuses[number])
			return
		}
		_, _ = io.WriteString(answer, `{"metadata":{"feature_names":[]},"results":[]}`)
	}))
	t.Cleanup(server.Close)
	return server
}

// refusingGRPC answers all calls with codes, one after the other, and then with nothing that was asked for.
func refusingGRPC(t *testing.T, asked *atomic.Int32, headers *metadata.MD, refusals ...codes.Code) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		number := int(asked.Add(1)) - 1
		if headers != nil {
			*headers, _ = metadata.FromIncomingContext(stream.Context())
		}
		if number < len(refusals) {
			return status.Error(refusals[number], "refused")
		}
		return status.Error(codes.OK, "")
	}))
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

func TestACallIsTriedAgainWhileTheServerIsUnavailable(t *testing.T) {
	var asked atomic.Int32
	server := refusingHTTP(t, &asked, nil, 503, 503)
	client, err := feast.NewHTTP(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.OnlineFeatures(t.Context(), anyRequest); err != nil {
		t.Fatal(err)
	}
	same(t, "calls", asked.Load(), 3)
}

func TestAttemptsEndAndOtherFailuresAreNotTriedAgain(t *testing.T) {
	for _, each := range []struct {
		status, calls int
		code          codes.Code
	}{{503, 2, codes.Unavailable}, {500, 1, codes.Internal}, {401, 1, codes.Unauthenticated}, {504, 1, codes.DeadlineExceeded}} {
		var asked atomic.Int32
		server := refusingHTTP(t, &asked, nil, each.status, each.status, each.status)
		client, err := feast.NewHTTP(server.URL, feast.WithAttempts(2))
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.OnlineFeatures(t.Context(), anyRequest)
		same(t, "code", feast.CodeOf(err), each.code)
		same(t, "calls", int(asked.Load()), each.calls)
		client.Close()
	}
	for _, each := range []struct {
		code  codes.Code
		calls int
	}{{codes.Unavailable, 2}, {codes.PermissionDenied, 1}} {
		var asked atomic.Int32
		client, err := feast.Dial(refusingGRPC(t, &asked, nil, each.code, each.code, each.code), feast.WithAttempts(2))
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.OnlineFeatures(t.Context(), anyRequest)
		same(t, "code", feast.CodeOf(err), each.code)
		same(t, "calls", int(asked.Load()), each.calls)
		client.Close()
	}
}

func TestNobodyThereIsUnavailableInTime(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	overGRPC, err := feast.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	overHTTP, err := feast.NewHTTP("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	for _, client := range []*feast.Client{overGRPC, overHTTP} {
		_, err := client.OnlineFeatures(t.Context(), anyRequest)
		same(t, "code", feast.CodeOf(err), codes.Unavailable)
		client.Close()
	}
}

func TestTheTimeoutLimitsCallsWithoutADeadline(t *testing.T) {
	released := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-released }))
	defer server.Close()
	defer close(released)
	client, err := feast.NewHTTP(server.URL, feast.WithTimeout(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, err = client.OnlineFeatures(t.Context(), anyRequest)
	same(t, "code", feast.CodeOf(err), codes.DeadlineExceeded)
}

func TestATokenIsSentAndOnlyWhereNobodyCanReadIt(t *testing.T) {
	if _, err := feast.Dial("localhost:1", feast.WithToken("t0ken")); err == nil {
		t.Error("a token would be sent without TLS")
	}
	if _, err := feast.NewHTTP("http://localhost:1", feast.WithToken("t0ken")); err == nil {
		t.Error("a token would be sent without TLS")
	}
	var asked atomic.Int32
	var headers http.Header
	overHTTP, err := feast.NewHTTP(refusingHTTP(t, &asked, &headers).URL, feast.WithToken("t0ken"), feast.AllowPlainToken())
	if err != nil {
		t.Fatal(err)
	}
	defer overHTTP.Close()
	if _, err := overHTTP.OnlineFeatures(t.Context(), anyRequest); err != nil {
		t.Fatal(err)
	}
	same(t, "header", headers.Get("Authorization"), "Bearer t0ken")
	var sent metadata.MD
	number := 0
	source := func(context.Context) (string, error) { number++; return strings.Repeat("x", number), nil }
	address := refusingGRPC(t, &asked, &sent, codes.NotFound, codes.NotFound, codes.NotFound)
	asked.Store(0)
	overGRPC, err := feast.Dial(address, feast.WithTokenSource(source), feast.AllowPlainToken())
	if err != nil {
		t.Fatal(err)
	}
	defer overGRPC.Close()
	for _, want := range []string{"Bearer x", "Bearer xx"} {
		_, err = overGRPC.OnlineFeatures(t.Context(), anyRequest)
		same(t, "code", feast.CodeOf(err), codes.NotFound)
		same(t, "metadata", sent.Get("authorization")[0], want)
	}
	broken := errors.New("the provider is away")
	failing, err := feast.Dial(address, feast.AllowPlainToken(),
		feast.WithTokenSource(func(context.Context) (string, error) { return "", broken }))
	if err != nil {
		t.Fatal(err)
	}
	defer failing.Close()
	if _, err := failing.OnlineFeatures(t.Context(), anyRequest); !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
}

func TestAnAddressThatIsNoneIsRefused(t *testing.T) {
	for _, url := range []string{"", "localhost:6566", "ftp://localhost", "http://"} {
		if _, err := feast.NewHTTP(url); err == nil {
			t.Errorf("%q was taken", url)
		}
	}
}

func TestWhatCannotBeSentIsRefusedBeforeTheFirstRow(t *testing.T) {
	var asked atomic.Int32
	overHTTP, err := feast.NewHTTP(refusingHTTP(t, &asked, nil).URL)
	if err != nil {
		t.Fatal(err)
	}
	overGRPC, err := feast.Dial(refusingGRPC(t, &asked, nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, rows := range []feast.Columns{
		{"a": {1, struct{}{}}},
		{"a": {uint64(1 << 63)}},
		{"a": {1}, "b": {1, 2}},
	} {
		for _, client := range []*feast.Client{overHTTP, overGRPC} {
			if err := client.Push(t.Context(), "live", feast.Online, rows); err == nil {
				t.Errorf("%v was sent", rows)
			}
		}
	}
	if err := overHTTP.Push(t.Context(), "live", feast.Online, feast.Columns{"a": {[]byte{1}}}); err == nil {
		t.Error("bytes were sent as JSON")
	}
	same(t, "calls", asked.Load(), 0)
	overHTTP.Close()
	overGRPC.Close()
}

func TestIntegersOfJSONAreTakenForEntities(t *testing.T) {
	var asked atomic.Int32
	client, err := feast.NewHTTP(refusingHTTP(t, &asked, nil).URL)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	request := feast.Request{Features: []string{"a:b"}, Entities: feast.Columns{"key": {json.Number("9007199254740993")}}}
	if _, err := client.OnlineFeatures(t.Context(), request); err != nil {
		t.Fatal(err)
	}
}
