package feast

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

const (
	defaultTimeout  = 10 * time.Second
	defaultAttempts = 3
	firstPause      = 50 * time.Millisecond
	longestPause    = 2 * time.Second
)

// Columns are rows, column by column: each has one value per row. Values are nil, bool, integers, floats, string,
// []byte, time.Time, and slices of these.
type Columns map[string][]any

// Request asks for the latest features of entities.
type Request struct {
	// Features are references such as "view:feature". Give these or a Service.
	Features []string
	// Service is the name of a feature service.
	Service string
	// Entities are join keys, and request data of on-demand views.
	Entities Columns
	// FullNames has features called view__feature.
	FullNames bool
}

// PushMode says where pushed rows go.
type PushMode string

// Where pushed rows go.
const (
	Online           PushMode = "online"
	Offline          PushMode = "offline"
	OnlineAndOffline PushMode = "online_and_offline"
)

// transport is what speaks one protocol. Errors are of the type *Error, or those of a context.
type transport interface {
	onlineFeatures(ctx context.Context, request Request) (*Response, error)
	push(ctx context.Context, source string, mode PushMode, rows Columns) error
	writeToOnlineStore(ctx context.Context, view string, rows Columns) error
	ready(ctx context.Context) error
	close() error
}

// TokenSource returns the bearer token to send; it is asked for each call.
type TokenSource func(ctx context.Context) (string, error)

type settings struct {
	tls         *tls.Config
	token       TokenSource
	plainToken  bool
	timeout     time.Duration
	attempts    int
	dialOptions []grpc.DialOption
	httpClient  *http.Client
}

// Option changes how a [Client] works.
type Option func(*settings)

// WithTLS has gRPC use TLS, and HTTPS use this configuration. An empty one trusts the system's certificates.
func WithTLS(config *tls.Config) Option { return func(s *settings) { s.tls = config } }

// WithToken sends a bearer token with each call. It needs TLS; see [AllowPlainToken].
func WithToken(token string) Option {
	return WithTokenSource(func(context.Context) (string, error) { return token, nil })
}

// WithTokenSource sends the bearer token that a function returns, such as one that renews it.
func WithTokenSource(source TokenSource) Option { return func(s *settings) { s.token = source } }

// AllowPlainToken lets tokens be sent without TLS, where whoever sees the traffic can read them.
func AllowPlainToken() Option { return func(s *settings) { s.plainToken = true } }

// WithTimeout limits how long a call may take with all its attempts, unless its context has a deadline; 10 seconds
// by default, 0 for no limit.
func WithTimeout(timeout time.Duration) Option { return func(s *settings) { s.timeout = timeout } }

// WithAttempts sets how many times a call is tried while the server is unavailable; 3 by default. All calls may be
// repeated: the server stores each pushed row once.
func WithAttempts(attempts int) Option { return func(s *settings) { s.attempts = max(1, attempts) } }

// WithDialOptions adds options of gRPC, such as interceptors or keepalive.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(s *settings) { s.dialOptions = append(s.dialOptions, options...) }
}

// WithHTTPClient has HTTP use a client of the caller's; [WithTLS] then has no effect.
func WithHTTPClient(client *http.Client) Option { return func(s *settings) { s.httpClient = client } }

func settled(options []Option) *settings {
	s := &settings{timeout: defaultTimeout, attempts: defaultAttempts}
	for _, option := range options {
		option(s)
	}
	return s
}

var errPlainToken = errors.New("feast: a token needs TLS: use WithTLS or https, or AllowPlainToken where nobody can listen in")

// Client reads and writes features of one server.
type Client struct {
	transport transport
	settings  *settings
}

// OnlineFeatures returns the latest features of the request's entities.
func (c *Client) OnlineFeatures(ctx context.Context, request Request) (*Response, error) {
	var response *Response
	err := c.try(ctx, func(ctx context.Context) (err error) {
		response, err = c.transport.onlineFeatures(ctx, request)
		return err
	})
	return response, err
}

// Push writes rows to the views of a push source. They are stored when it returns nil. Over gRPC each row is a call of
// its own, so where it fails, the first rows may have been stored; pushing all of them again is safe.
func (c *Client) Push(ctx context.Context, source string, mode PushMode, rows Columns) error {
	return c.try(ctx, func(ctx context.Context) error { return c.transport.push(ctx, source, mode, rows) })
}

// WriteToOnlineStore writes rows of one view to the online store, as [Client.Push] does.
func (c *Client) WriteToOnlineStore(ctx context.Context, view string, rows Columns) error {
	return c.try(ctx, func(ctx context.Context) error { return c.transport.writeToOnlineStore(ctx, view, rows) })
}

// Ready returns nil if the server has definitions and its online store answers. It does not try again.
func (c *Client) Ready(ctx context.Context) error {
	ctx, cancel := c.limited(ctx)
	defer cancel()
	return c.transport.ready(ctx)
}

// Close closes connections.
func (c *Client) Close() error { return c.transport.close() }

func (c *Client) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has || c.settings.timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.settings.timeout)
}

// try calls until the server is available, or attempts or time have run out.
func (c *Client) try(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := c.limited(ctx)
	defer cancel()
	pause := firstPause
	for attempt := 1; ; attempt++ {
		err := call(ctx)
		var failed *Error
		if attempt >= c.settings.attempts || !errors.As(err, &failed) || failed.Code != codes.Unavailable {
			return err
		}
		// Half of it at random, so that clients which failed together do not come back together.
		wait := max(pause/2+rand.N(pause/2), failed.retryAfter)
		if deadline, has := ctx.Deadline(); has && time.Until(deadline) < wait {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
		pause = min(2*pause, longestPause)
	}
}
