package feast

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/feast-assets/feast-assets/clients/go/internal/wire"
)

const (
	getMethod   = "/GrpcFeatureServer/GetOnlineFeatures"
	pushMethod  = "/GrpcFeatureServer/Push"
	writeMethod = "/GrpcFeatureServer/WriteToOnlineStore"

	errorClass = "feast-error-class"
	retryAfter = "grpc-retry-pushback-ms"
)

// Dial returns a client that speaks gRPC to a target such as "localhost:50051". It connects when the first call is made.
func Dial(target string, options ...Option) (*Client, error) {
	s := settled(options)
	if s.token != nil && s.tls == nil && !s.plainToken {
		return nil, errPlainToken
	}
	secured := insecure.NewCredentials()
	if s.tls != nil {
		secured = credentials.NewTLS(cloned(s.tls))
	}
	dialOptions := append([]grpc.DialOption{
		grpc.WithTransportCredentials(secured),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)),
		// Client.try does it, for both protocols alike.
		grpc.WithDisableRetry(),
	}, s.dialOptions...)
	connection, err := grpc.NewClient(target, dialOptions...)
	if err != nil {
		return nil, fmt.Errorf("feast: %w", err)
	}
	return &Client{transport: &grpcTransport{connection: connection, token: s.token}, settings: s}, nil
}

func cloned(config *tls.Config) *tls.Config {
	if config == nil {
		return nil
	}
	return config.Clone()
}

type grpcTransport struct {
	connection *grpc.ClientConn
	token      TokenSource
}

func (t *grpcTransport) invoke(ctx context.Context, method string, request, response any) error {
	if t.token != nil {
		token, err := t.token(ctx)
		if err != nil {
			return fmt.Errorf("feast: no token: %w", err)
		}
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	var trailer metadata.MD
	if err := t.connection.Invoke(ctx, method, request, response, grpc.Trailer(&trailer)); err != nil {
		return failure(err, trailer)
	}
	return nil
}

func failure(err error, trailer metadata.MD) error {
	told := status.Convert(err)
	failed := &Error{Code: told.Code(), Message: told.Message()}
	if class := trailer.Get(errorClass); len(class) > 0 {
		failed.Class = class[0]
	}
	if pushback := trailer.Get(retryAfter); len(pushback) > 0 {
		if millis, err := strconv.Atoi(pushback[0]); err == nil && millis >= 0 {
			failed.retryAfter = time.Duration(millis) * time.Millisecond
		}
	}
	return failed
}

func (t *grpcTransport) onlineFeatures(ctx context.Context, request Request) (*Response, error) {
	sent := &wire.GetOnlineFeaturesRequest{
		Entities:         make(map[string]*wire.RepeatedValue, len(request.Entities)),
		FullFeatureNames: request.FullNames,
	}
	if request.Service != "" {
		sent.Kind = &wire.GetOnlineFeaturesRequest_FeatureService{FeatureService: request.Service}
	} else {
		sent.Kind = &wire.GetOnlineFeaturesRequest_Features{Features: &wire.FeatureList{Val: request.Features}}
	}
	for name, values := range request.Entities {
		column, err := messages(values)
		if err != nil {
			return nil, err
		}
		sent.Entities[name] = column
	}
	answer := &wire.GetOnlineFeaturesResponse{}
	if err := t.invoke(ctx, getMethod, sent, answer); err != nil {
		return nil, err
	}
	names := answer.GetMetadata().GetFeatureNames().GetVal()
	if len(names) != len(answer.GetResults()) {
		return nil, &Error{Code: codes.Internal, Message: "the server names other columns than it returns"}
	}
	response := &Response{Columns: make([]Column, len(names))}
	for index, result := range answer.GetResults() {
		column := Column{
			Name:       names[index],
			Values:     each(result.GetValues(), read),
			Statuses:   make([]Status, len(result.GetStatuses())),
			EventTimes: make([]time.Time, len(result.GetEventTimestamps())),
		}
		for row, of := range result.GetStatuses() {
			column.Statuses[row] = Status(of)
		}
		for row, at := range result.GetEventTimestamps() {
			if at.GetSeconds() != 0 || at.GetNanos() != 0 {
				column.EventTimes[row] = at.AsTime()
			}
		}
		response.Columns[index] = column
	}
	return response, nil
}

func (t *grpcTransport) push(ctx context.Context, source string, mode PushMode, rows Columns) error {
	return eachRow(rows, func(row map[string]*wire.Value) error {
		request := &wire.PushRequest{
			StreamFeatureView: source, To: string(mode), TypedFeatures: row, AllowRegistryCache: true,
		}
		return t.invoke(ctx, pushMethod, request, &wire.PushResponse{})
	})
}

func (t *grpcTransport) writeToOnlineStore(ctx context.Context, view string, rows Columns) error {
	return eachRow(rows, func(row map[string]*wire.Value) error {
		request := &wire.WriteToOnlineStoreRequest{FeatureViewName: view, TypedFeatures: row, AllowRegistryCache: true}
		return t.invoke(ctx, writeMethod, request, &wire.WriteToOnlineStoreResponse{})
	})
}

// eachRow makes the messages of all rows before it calls with the first, so that a value which cannot be sent changes
// nothing.
func eachRow(rows Columns, call func(map[string]*wire.Value) error) error {
	count, err := rowCount(rows)
	if err != nil {
		return err
	}
	made := make([]map[string]*wire.Value, count)
	for index := range made {
		made[index] = make(map[string]*wire.Value, len(rows))
		for name, values := range rows {
			value, err := message(values[index])
			if err != nil {
				return err
			}
			made[index][name] = value
		}
	}
	for _, row := range made {
		if err := call(row); err != nil {
			return err
		}
	}
	return nil
}

func rowCount(rows Columns) (int, error) {
	count := -1
	for _, values := range rows {
		if count >= 0 && len(values) != count {
			return 0, errors.New("feast: the columns of rows have different lengths")
		}
		count = len(values)
	}
	return max(count, 0), nil
}

func (t *grpcTransport) ready(ctx context.Context) error {
	answer := &healthpb.HealthCheckResponse{}
	if err := t.invoke(ctx, healthpb.Health_Check_FullMethodName, &healthpb.HealthCheckRequest{}, answer); err != nil {
		return err
	}
	if answer.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		return &Error{Code: codes.Unavailable, Message: "the server is " + answer.GetStatus().String()}
	}
	return nil
}

func (t *grpcTransport) close() error { return t.connection.Close() }
