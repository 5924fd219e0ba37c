package kafka

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// topics creates topics, each once, and again after forget.
type topics struct {
	config *Config
	log    zerolog.Logger

	mu sync.Mutex
	// mu guards the field below.
	known map[string]bool
}

// maxKnown bounds what is remembered, that of deleted instances included; all is asked for again then.
const maxKnown = 1 << 17

// ensure makes sure that topics exist. What it cannot create, it leaves to the brokers: the topic may well exist, and
// producing to it be allowed, where creating is not.
func (t *topics) ensure(ctx context.Context, client *kgo.Client, names ...string) {
	missing := t.unknown(names)
	if len(missing) == 0 {
		return
	}
	answers, err := kadm.NewClient(client).CreateTopics(ctx, t.config.NumPartitions, t.config.ReplicationFactor, nil, missing...)
	if err != nil {
		t.log.Warn().Err(err).Strs("topics", missing).Msg("topics could not be created")
		return
	}
	for name, answer := range answers {
		switch {
		case answer.Err == nil:
			t.log.Info().Str("topic", name).Msg("topic created")
		case !errors.Is(answer.Err, kerr.TopicAlreadyExists):
			t.log.Warn().Err(answer.Err).Str("topic", name).Msg("a topic could not be created; if it exists, it is used as it is")
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known) > maxKnown {
		clear(t.known)
	}
	for _, name := range missing {
		t.known[name] = true
	}
}

func (t *topics) unknown(names []string) (missing []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range names {
		if !t.known[name] && !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
	}
	return missing
}

// forget lets the next event for a topic create it again.
func (t *topics) forget(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.known, name)
}
