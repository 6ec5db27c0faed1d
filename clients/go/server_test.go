package feast_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	feast "github.com/feast-assets/feast-assets/clients/go"
)

// The servers are started by scripts/test_clients.py, which says in the environment where they are.
func address(t *testing.T, variable string) string {
	t.Helper()
	value := os.Getenv(variable)
	if value == "" {
		t.Skipf("%s does not say where a server is: run `make clients`", variable)
	}
	return value
}

func trusting(t *testing.T) *tls.Config {
	t.Helper()
	certificate, err := os.ReadFile(address(t, "FEAST_ASSETS_CERTIFICATE"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate)
	return &tls.Config{RootCAs: pool}
}

// overBoth runs a test with a client of each protocol.
func overBoth(t *testing.T, test func(t *testing.T, client *feast.Client)) {
	t.Helper()
	for _, protocol := range []string{"gRPC", "HTTP", "gRPC with TLS", "HTTP with TLS"} {
		t.Run(protocol, func(t *testing.T) {
			var client *feast.Client
			var err error
			switch protocol {
			case "gRPC":
				client, err = feast.Dial(address(t, "FEAST_ASSETS_GRPC"))
			case "HTTP":
				client, err = feast.NewHTTP(address(t, "FEAST_ASSETS_HTTP"))
			case "gRPC with TLS":
				client, err = feast.Dial(address(t, "FEAST_ASSETS_GRPC_TLS"),
					feast.WithTLS(trusting(t)), feast.WithToken("t0ken"))
			case "HTTP with TLS":
				client, err = feast.NewHTTP(address(t, "FEAST_ASSETS_HTTP_TLS"),
					feast.WithTLS(trusting(t)), feast.WithToken("t0ken"))
			}
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			test(t, client)
		})
	}
}

func get[T feast.Kind](t *testing.T, response *feast.Response, name string, row int) T {
	t.Helper()
	value, err := feast.Get[T](response, name, row)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func drivers(ids ...int) feast.Columns {
	column := make([]any, len(ids))
	for index, id := range ids {
		column[index] = id
	}
	return feast.Columns{"driver_id": column}
}

var features = []string{
	"stats:trips", "stats:few", "stats:rate", "stats:exact", "stats:city", "stats:active", "stats:since", "stats:marks",
	"stats:words", "stats:photo",
}

func TestValuesOfEveryTypeAreReadWithTheirStatuses(t *testing.T) {
	overBoth(t, func(t *testing.T, client *feast.Client) {
		response, err := client.OnlineFeatures(t.Context(), feast.Request{Features: features, Entities: drivers(1, 2, 3, 99)})
		if err != nil {
			t.Fatal(err)
		}
		same(t, "rows", response.Rows(), 4)
		same(t, "columns", len(response.Columns), 11)
		same(t, "first column", response.Columns[0].Name, "driver_id")
		same(t, "key", get[int64](t, response, "driver_id", 3), 99)
		same(t, "trips", get[int64](t, response, "trips", 0), 10)
		same(t, "large trips", get[int64](t, response, "trips", 1), 9007199254740993)
		same(t, "few", get[int64](t, response, "few", 0), 1)
		same(t, "rate", get[float64](t, response, "rate", 0), 0.5)
		same(t, "exact", get[float64](t, response, "exact", 0), 0.1)
		same(t, "infinite", get[float64](t, response, "exact", 2), math.Inf(1))
		same(t, "city", get[string](t, response, "city", 0), "Köln")
		same(t, "active", get[bool](t, response, "active", 0), true)
		same(t, "since", get[time.Time](t, response, "since", 0), time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC))
		if got := get[[]int64](t, response, "marks", 0); !slices.Equal(got, []int64{1, 2}) {
			t.Errorf("marks are %v", got)
		}
		if got := get[[]string](t, response, "words", 0); !slices.Equal(got, []string{"a", "ü"}) {
			t.Errorf("words are %v", got)
		}
		if got := get[[]byte](t, response, "photo", 0); !slices.Equal(got, []byte{0, 255}) {
			t.Errorf("photo is %v", got)
		}
		same(t, "status of a value", response.Status("city", 0), feast.Present)
		same(t, "status of a null", response.Status("city", 1), feast.NullValue)
		same(t, "status of an unknown entity", response.Status("city", 3), feast.NotFound)
		same(t, "event time", response.Column("trips").EventTimes[0],
			time.Date(2024, 1, 1, 12, 0, 0, 250_000_000, time.UTC))
		same(t, "no event time", response.Column("trips").EventTimes[3].IsZero(), true)
		same(t, "no event time of keys", response.Column("driver_id").EventTimes[0].IsZero(), true)
		var null *feast.NullError
		if _, err := feast.Get[string](response, "city", 1); !errors.As(err, &null) || null.Status != feast.NullValue {
			t.Errorf("a null is %v", err)
		}
		if _, err := feast.Get[int64](response, "city", 0); err == nil || errors.As(err, &null) {
			t.Errorf("a text as a number is %v", err)
		}
		if _, err := feast.Get[int64](response, "nope", 0); err == nil {
			t.Error("a column that is not there was read")
		}
	})
}

func TestAServiceIsReadWithRequestDataAndFullNames(t *testing.T) {
	overBoth(t, func(t *testing.T, client *feast.Client) {
		entities := drivers(1, 3)
		entities["bonus"] = []any{0.5, float32(1)}
		response, err := client.OnlineFeatures(t.Context(),
			feast.Request{Service: "service", Entities: entities, FullNames: true})
		if err != nil {
			t.Fatal(err)
		}
		same(t, "total", get[float64](t, response, "totals__total", 0), 10.5)
		same(t, "second total", get[float64](t, response, "totals__total", 1), -19)
		same(t, "trips", get[int64](t, response, "stats__trips", 1), -20)
	})
}

func TestNoEntitiesAreNoRows(t *testing.T) {
	overBoth(t, func(t *testing.T, client *feast.Client) {
		response, err := client.OnlineFeatures(t.Context(), feast.Request{Features: features[:1], Entities: drivers()})
		if err != nil {
			t.Fatal(err)
		}
		same(t, "rows", response.Rows(), 0)
	})
}

func TestAMistakeIsAnErrorThatSaysWhichAndIsNotTriedAgain(t *testing.T) {
	for name, each := range map[string]struct {
		request feast.Request
		code    codes.Code
		class   string
	}{
		"unknown view": {
			feast.Request{Features: []string{"nope:trips"}, Entities: drivers(1)},
			codes.NotFound, "FeatureViewNotFoundException",
		},
		"unknown service": {
			feast.Request{Service: "nope", Entities: drivers(1)},
			codes.NotFound, "FeatureServiceNotFoundException",
		},
		"missing key": {
			feast.Request{Features: features[:1], Entities: feast.Columns{"rider": {1}}},
			codes.InvalidArgument, "FeastError",
		},
	} {
		t.Run(name, func(t *testing.T) {
			overBoth(t, func(t *testing.T, client *feast.Client) {
				_, err := client.OnlineFeatures(t.Context(), each.request)
				var failed *feast.Error
				if !errors.As(err, &failed) {
					t.Fatalf("the error is %v", err)
				}
				same(t, "code", failed.Code, each.code)
				same(t, "class", failed.Class, each.class)
			})
		})
	}
}

func pushed(driver int, trips int64, city any, at time.Time) feast.Columns {
	return feast.Columns{
		"driver_id": {driver, driver + 1}, "trips": {trips, trips + 1}, "few": {nil, 2}, "rate": {nil, 0.25},
		"exact": {nil, 2}, "city": {city, "x"}, "active": {nil, false}, "since": {nil, at},
		"marks": {nil, []int{4, 5}}, "words": {nil, []string{"w"}}, "photo": {nil, nil}, "at": {at, at},
	}
}

func TestRowsArePushedAndTheNewestWins(t *testing.T) {
	driver := 1000
	overBoth(t, func(t *testing.T, client *feast.Client) {
		driver += 10
		newer := time.Date(2025, 1, 1, 0, 0, 0, 123_000_000, time.UTC)
		for _, rows := range []feast.Columns{
			pushed(driver, 100, "new", newer), pushed(driver, 100, "new", newer),
			pushed(driver, 1, "old", newer.Add(-time.Hour)),
		} {
			if err := client.Push(t.Context(), "live", feast.Online, rows); err != nil {
				t.Fatal(err)
			}
		}
		response, err := client.OnlineFeatures(t.Context(), feast.Request{Features: features, Entities: drivers(driver, driver+1)})
		if err != nil {
			t.Fatal(err)
		}
		same(t, "trips", get[int64](t, response, "trips", 0), 100)
		same(t, "city", get[string](t, response, "city", 0), "new")
		same(t, "event time", response.Column("trips").EventTimes[0], newer)
		same(t, "since", get[time.Time](t, response, "since", 1), newer.Truncate(time.Second))
		same(t, "status", response.Status("few", 0), feast.NullValue)
		if got := get[[]int64](t, response, "marks", 1); !slices.Equal(got, []int64{4, 5}) {
			t.Errorf("marks are %v", got)
		}
		if err := client.WriteToOnlineStore(t.Context(), "stats", pushed(driver, 200, "later", newer.Add(time.Hour))); err != nil {
			t.Fatal(err)
		}
		response, err = client.OnlineFeatures(t.Context(), feast.Request{Features: features[:1], Entities: drivers(driver)})
		if err != nil {
			t.Fatal(err)
		}
		same(t, "written trips", get[int64](t, response, "trips", 0), 200)
		same(t, "unknown push source", feast.CodeOf(client.Push(t.Context(), "nope", feast.Online, drivers(1))), codes.NotFound)
		same(t, "unknown mode", feast.CodeOf(client.Push(t.Context(), "live", "nowhere", drivers(1))), codes.InvalidArgument)
	})
}

func TestCallsAtTheSameTimeGetTheirOwnFeatures(t *testing.T) {
	overBoth(t, func(t *testing.T, client *feast.Client) {
		var group sync.WaitGroup
		for number := range 64 {
			group.Go(func() {
				driver := 1 + number%3
				response, err := client.OnlineFeatures(t.Context(),
					feast.Request{Features: features[:1], Entities: drivers(driver)})
				if err != nil {
					t.Error(err)
					return
				}
				want := map[int]int64{1: 10, 2: 9007199254740993, 3: -20}[driver]
				if got, err := feast.Get[int64](response, "trips", 0); err != nil || got != want {
					t.Errorf("driver %d has %d trips (%v)", driver, got, err)
				}
			})
		}
		group.Wait()
	})
}

func TestAServerIsReadyAndADeadlineThatPassedIsTold(t *testing.T) {
	overBoth(t, func(t *testing.T, client *feast.Client) {
		if err := client.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		passed, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		_, err := client.OnlineFeatures(passed, feast.Request{Features: features[:1], Entities: drivers(1)})
		same(t, "code", feast.CodeOf(err), codes.DeadlineExceeded)
	})
}

func TestACertificateThatNobodyVouchesForIsRefused(t *testing.T) {
	for _, dial := range []func() (*feast.Client, error){
		func() (*feast.Client, error) {
			return feast.Dial(address(t, "FEAST_ASSETS_GRPC_TLS"), feast.WithTLS(&tls.Config{}), feast.WithAttempts(1))
		},
		func() (*feast.Client, error) {
			return feast.NewHTTP(address(t, "FEAST_ASSETS_HTTP_TLS"), feast.WithAttempts(1))
		},
	} {
		client, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		same(t, "code", feast.CodeOf(client.Ready(t.Context())), codes.Unavailable)
		client.Close()
	}
}
