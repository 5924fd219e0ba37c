package e2e_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	natsio "github.com/nats-io/nats.go"
	amqp "github.com/rabbitmq/amqp091-go"
)

// service skips a test whose broker is not on loopback, unless the environment says that it must be there.
func service(t *testing.T, address string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err == nil {
		conn.Close()
		return
	}
	if os.Getenv("EVOSINK_REQUIRE_SERVICES") != "" {
		t.Fatal(err)
	}
	t.Skip(err)
}

// An arrival is when an event reached a consumer.
type arrival struct {
	sink, id string
	at       time.Time
}

func TestADeadSinkCostsTheOthersNothing(t *testing.T) {
	service(t, "127.0.0.1:5672")
	service(t, "127.0.0.1:4222")
	dead := freeAddress(t)
	instance := fmt.Sprint("all-", time.Now().UnixNano())
	arrivals := make(chan arrival, 10_000)
	hook := newReceiver(t)
	hook.arrived = func(id string) { arrivals <- arrival{"webhook", id, time.Now()} }
	hook.open(t)
	env := []string{
		"WEBSOCKET_ENABLED=true", "WEBSOCKET_GLOBAL_EVENTS=true",
		"RABBITMQ_ENABLED=true", "RABBITMQ_URI=amqp://guest:guest@127.0.0.1:5672", "NATS_ENABLED=true", "NATS_URI=nats://127.0.0.1:4222",
		"KAFKA_ENABLED=true", "KAFKA_BROKERS=" + dead, "KAFKA_GLOBAL_ENABLED=true", "KAFKA_EVENTS_CALL=true",
	}
	p := launch(t, t.TempDir(), env...)
	p.must(201, "POST", "/instance/create", fmt.Sprintf(`{"instanceName":%q,
		"webhook":{"url":"http://%s/","events":["CALL"]},"rabbitmq":{"enabled":true,"events":["CALL"]},"nats":{"enabled":true,"events":["CALL"]}}`,
		instance, hook.address))
	consumeRabbit(t, p, instance, arrivals)
	consumeNATS(t, instance, arrivals)
	l := p.listen("")
	go func() {
		for {
			e, ok := l.next(time.Minute)
			if !ok {
				return
			}
			if e.Instance == instance {
				arrivals <- arrival{"websocket", e.ID, time.Now()}
			}
		}
	}()

	const n = 100
	sent := map[string]time.Time{}
	for i := range n {
		at := time.Now()
		var answer struct{ ID string }
		if err := json.Unmarshal([]byte(p.must(201, "POST", "/events/"+instance, fmt.Sprintf(`{"event":"call","data":{"n":%d}}`, i))), &answer); err != nil {
			t.Fatal(err)
		}
		sent[answer.ID] = at
	}
	took := map[string][]time.Duration{}
	for got := 0; got < 4*n; {
		select {
		case a := <-arrivals:
			if at, ours := sent[a.id]; ours {
				took[a.sink] = append(took[a.sink], a.at.Sub(at))
				got++
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("of %d events each there arrived %v", n, lengths(took))
		}
	}
	for name, times := range took {
		slices.Sort(times)
		t.Logf("%-9s p50 %v, p99 %v", name, times[len(times)/2], times[len(times)*99/100])
	}
	out, err := p.command("sinks").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "kafka") && (!strings.Contains(line, " no ") || !strings.Contains(line, " 101 ")) {
			t.Errorf("the dead sink is shown as %s", line)
		}
	}
	if status, ready := p.do("GET", "/readyz", ""); status != 200 || !strings.Contains(ready, "not connected to Kafka") {
		t.Errorf("readiness: %d %s", status, ready)
	}
}

func lengths(m map[string][]time.Duration) map[string]int {
	out := map[string]int{}
	for name, times := range m {
		out[name] = len(times)
	}
	return out
}

// consumeRabbit consumes the instance's queue, which is there after a first event, and removes it at the end. Each try
// has a connection of its own: a broker knows a quorum queue before the queue's process runs, and answers a look or a
// consumer that comes between by 541, which ends the connection.
func consumeRabbit(t *testing.T, p *process, instance string, arrivals chan<- arrival) {
	t.Helper()
	p.must(201, "POST", "/events/"+instance, `{"event":"call"}`)
	queue := instance + ".call"
	var ch *amqp.Channel
	var messages <-chan amqp.Delivery
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		conn, err := amqp.Dial("amqp://guest:guest@127.0.0.1:5672")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if ch, err = conn.Channel(); err != nil {
			t.Fatal(err)
		}
		if _, err = ch.QueueDeclarePassive(queue, true, false, false, false, nil); err == nil {
			messages, err = ch.Consume(queue, "", true, false, false, false, nil)
		}
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		ch.QueueDelete(queue, false, false, false)
		ch.ExchangeDelete(instance, false, false)
	})
	go func() {
		for m := range messages {
			arrivals <- arrival{"rabbitmq", idOf(m.Body), time.Now()}
		}
	}()
}

func consumeNATS(t *testing.T, instance string, arrivals chan<- arrival) {
	t.Helper()
	conn, err := natsio.Connect("nats://127.0.0.1:4222")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if _, err := conn.Subscribe(instance+".call", func(m *natsio.Msg) { arrivals <- arrival{"nats", idOf(m.Data), time.Now()} }); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
}

func idOf(body []byte) string {
	var e envelope
	if json.Unmarshal(body, &e) != nil {
		return ""
	}
	return e.ID
}
