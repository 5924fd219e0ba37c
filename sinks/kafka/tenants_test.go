package kafka_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/e2e/hubtest"
	"github.com/evosink/evosink/sinks/kafka"
)

func TestNoTenantReachesAnothersTopicAndFewTopicsAreMade(t *testing.T) {
	for each, want := range map[int][]string{
		0: {"evolution.shop.custom", "evolution.shop.eu.call", "evolution.shop_x20eu.call"},
		2: {"evolution.shop.custom", "evolution.shop.custom.eu_x2Ecall", "evolution.shop.custom.own_x2E0", "evolution.shop.eu.call", "evolution.shop_x20eu.call"},
	} {
		c := cluster(t)
		h := hubtest.Run(t, sink.Use(kafka.Spec, func(k *kafka.Config) {
			*k = config(c)
			k.AutoCreateTopics = true
			if each > 0 {
				k.CustomTopics, k.CustomTopicsEach = true, each
			}
		}))
		for _, name := range []string{"shop", "shop.eu", "shop eu"} {
			h.Create(name, "kafka")
		}
		h.Emit("shop", "eu.call", "")
		h.Delivered(1)
		for i := range 100 { // one POST of these made a hundred topics
			h.Emit("shop", fmt.Sprint("own.", i), "")
		}
		h.Emit("shop.eu", "call", "")
		h.Emit("shop eu", "call", "")
		h.Delivered(103)
		client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		topics, err := kadm.NewClient(client).ListTopics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := topics.Names(); !slices.Equal(got, want) {
			t.Errorf("each %d: topics %v\nwant %v", each, got, want)
		}
		if r := consume(t, c, "evolution.shop.eu.call").wait(t, 1)[0]; string(r.Key) != "shop.eu" {
			t.Errorf("the event of %s is in the topic of shop.eu", r.Key)
		}
	}
}
