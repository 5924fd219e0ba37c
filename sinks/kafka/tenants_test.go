package kafka_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/e2e/hubtest"
	"github.com/evosink/evosink/sinks/kafka"
)

func TestNoTenantReachesAnothersTopicAndFewTopicsAreMade(t *testing.T) {
	for _, want := range [][]string{
		{"evolution.shop.custom", "evolution.shop.eu.call", "evolution.shop_x20eu.call"},
		{
			"evolution.shop.custom", "evolution.shop.custom.eu_x2Ecall", "evolution.shop.custom.own_x2E0",
			"evolution.shop.eu.call", "evolution.shop_x20eu.call",
		},
	} {
		c := cluster(t)
		h := hubtest.Run(t, sink.Use(kafka.Spec, func(k *kafka.Config) {
			*k = config(c)
			k.AutoCreateTopics = true
			if len(want) > 3 {
				k.CustomTopics = []string{"eu.call", "own.0"}
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
		if got := topics(t, c); !slices.Equal(got, want) {
			t.Errorf("topics %v\nwant %v", got, want)
		}
		if r := consume(t, c, "evolution.shop.eu.call").wait(t, 1)[0]; string(r.Key) != "shop.eu" {
			t.Errorf("the event of %s is in the topic of shop.eu", r.Key)
		}
	}
}

// Three sinks are three nodes, or three lives of one: what one has made, the others do not know.
func TestNodesAndRestartsMakeNoMoreTopicsForAnInstance(t *testing.T) {
	c := cluster(t)
	k := config(c)
	k.AutoCreateTopics, k.CustomTopics = true, []string{"own-0-0", "own-1-1"}
	for node := range 3 {
		s := start(t, k)
		for i := range 4 {
			sinktest.Deliver(t, s, delivery(sink.Instance, "shop", fmt.Sprintf("own-%d-%d", node, i)))
		}
	}
	want := []string{"evolution.shop.custom", "evolution.shop.custom.own-0-0", "evolution.shop.custom.own-1-1"}
	if got := topics(t, c); !slices.Equal(got, want) {
		t.Errorf("topics %v\nwant %v", got, want)
	}
	consume(t, c, want[0]).wait(t, 10)
}

// topics returns the names of the topics of a cluster, sorted.
func topics(t *testing.T, c *kfake.Cluster) []string {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	topics, err := kadm.NewClient(client).ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return topics.Names()
}
