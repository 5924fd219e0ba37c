package bus

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"
)

// ErrTopic says that a topic is none of the log's.
var ErrTopic = errors.New("unknown topic")

// ParseTopic returns the shard among n that a topic made by [Topic] names. Its error wraps [ErrTopic].
func ParseTopic(topic string, n int) (int, error) {
	digits, _ := strings.CutPrefix(topic, "events.")
	shard, err := strconv.Atoi(digits)
	if err != nil || shard < 0 || shard >= n || Topic(shard) != topic {
		return 0, fmt.Errorf("%w %q: the log has %s to %s", ErrTopic, topic, Topic(0), Topic(n-1))
	}
	return shard, nil
}

// CheckShard returns an error that wraps [ErrTopic] unless a shard is one of n.
func CheckShard(shard, n int) error {
	if shard < 0 || shard >= n {
		return fmt.Errorf("%w: shard %d: the log has 0 to %d", ErrTopic, shard, n-1)
	}
	return nil
}

// Size returns what a message counts against an engine's limits: the bytes of its payload, metadata and id.
func Size(m *message.Message) int {
	n := len(m.UUID) + len(m.Payload)
	for k, v := range m.Metadata {
		n += len(k) + len(v)
	}
	return n
}

// InstanceOf returns the instance of the event that a message made by [Message] carries, "" for other messages.
func InstanceOf(m *message.Message) string { return m.Metadata[metaInstance] }
