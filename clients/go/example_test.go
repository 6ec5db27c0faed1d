package feast_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"time"

	feast "github.com/feast-assets/feast-assets/clients/go"
)

func ExampleDial() {
	client, err := feast.Dial("features.example.com:443",
		feast.WithTLS(&tls.Config{}),
		feast.WithToken("a token"),
		feast.WithTimeout(500*time.Millisecond),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
}

func ExampleClient_OnlineFeatures() {
	client, err := feast.Dial("localhost:50051")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	response, err := client.OnlineFeatures(context.Background(), feast.Request{
		Features: []string{"driver_stats:trips_today", "driver_stats:rating"},
		Entities: feast.Columns{"driver_id": {1001, 1002}},
	})
	if err != nil {
		log.Fatal(err)
	}
	for row := range response.Rows() {
		trips, err := feast.Get[int64](response, "trips_today", row)
		var null *feast.NullError
		switch {
		case errors.As(err, &null):
			fmt.Println("no value:", null.Status)
		case err != nil:
			log.Fatal(err)
		default:
			fmt.Println(trips, "trips, as of", response.Column("trips_today").EventTimes[row])
		}
	}
}

func ExampleClient_Push() {
	client, err := feast.NewHTTP("http://localhost:6566")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	err = client.Push(context.Background(), "driver_events", feast.OnlineAndOffline, feast.Columns{
		"driver_id":       {1001},
		"trips_today":     {12},
		"rating":          {4.5},
		"event_timestamp": {time.Now()},
	})
	if err != nil {
		log.Fatal(err)
	}
}
