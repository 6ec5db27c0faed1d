// Load sends requests for features to a gRPC server as fast as they are answered, and prints what it saw as JSON. The
// benchmark builds it, as wrk speaks no gRPC.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/feast-assets/feast-assets/clients/go/internal/wire"
)

// asBytes leaves messages as they are: requests are made before the clock runs, and answers are not read.
type asBytes struct{}

func (asBytes) Marshal(value any) ([]byte, error) { return *value.(*[]byte), nil }

func (asBytes) Unmarshal(data []byte, value any) error {
	*value.(*[]byte) = data
	return nil
}

func (asBytes) Name() string { return "proto" }

const prepared = 200

func main() {
	target := flag.String("target", "", "host:port")
	connections := flag.Int("connections", 8, "connections, each with one call at a time")
	seconds := flag.Float64("seconds", 5, "how long")
	features := flag.String("features", "", "references, with commas between them")
	key := flag.String("key", "", "the join key")
	batch := flag.Int("batch", 1, "entities of a request")
	last := flag.Int64("last", 0, "the last of the entities, which begin at 0")
	flag.Parse()
	requests := make([][]byte, prepared)
	random := rand.New(rand.NewPCG(7, 7))
	for index := range requests {
		ids := make([]*wire.Value, *batch)
		for each := range ids {
			ids[each] = &wire.Value{Val: &wire.Value_Int64Val{Int64Val: random.Int64N(*last + 1)}}
		}
		made, err := proto.Marshal(&wire.GetOnlineFeaturesRequest{
			Kind: &wire.GetOnlineFeaturesRequest_Features{
				Features: &wire.FeatureList{Val: strings.Split(*features, ",")},
			},
			Entities: map[string]*wire.RepeatedValue{*key: {Val: ids}},
		})
		if err != nil {
			log.Fatal(err)
		}
		requests[index] = made
	}
	end := time.Now().Add(time.Duration(*seconds * float64(time.Second)))
	taken := make([][]time.Duration, *connections)
	failed := make([]int, *connections)
	begin := time.Now()
	var group sync.WaitGroup
	for number := range *connections {
		connection, err := grpc.NewClient(*target, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodec(asBytes{}), grpc.MaxCallRecvMsgSize(1<<30)))
		if err != nil {
			log.Fatal(err)
		}
		defer connection.Close()
		group.Go(func() {
			for count := number; time.Now().Before(end); count++ {
				var answer []byte
				sent := time.Now()
				err := connection.Invoke(context.Background(), "/GrpcFeatureServer/GetOnlineFeatures",
					&requests[count%prepared], &answer)
				taken[number] = append(taken[number], time.Since(sent))
				if err != nil {
					failed[number]++
				}
			}
		})
	}
	group.Wait()
	passed := time.Since(begin).Seconds()
	all := slices.Concat(taken...)
	slices.Sort(all)
	sum := 0
	for _, count := range failed {
		sum += count
	}
	if len(all) == 0 {
		fmt.Fprintln(os.Stderr, "no request was answered")
		os.Exit(1)
	}
	err := json.NewEncoder(os.Stdout).Encode(map[string]any{
		"requests": len(all), "seconds": passed, "not_ok": sum,
		"p50": all[len(all)/2].Seconds(), "p99": all[len(all)*99/100].Seconds(),
	})
	if err != nil {
		log.Fatal(err)
	}
}
