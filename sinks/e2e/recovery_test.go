package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A traveller is the official client that loses its connection.
type traveller struct {
	t     *testing.T
	stdin io.WriteCloser
	lines chan string
}

func travel(t *testing.T, address string) *traveller {
	t.Helper()
	cmd := exec.Command("node", "clients/recovery.mjs", address, key)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	v := &traveller{t, stdin, make(chan string, 10_000)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			v.lines <- s.Text()
		}
		cmd.Wait()
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	return v
}

// say gives the client a command.
func (v *traveller) say(word string) { io.WriteString(v.stdin, word+"\n") }

// until returns the numbers of the events that come before a line that contains text.
func (v *traveller) until(text string) (numbers []int) {
	v.t.Helper()
	for timeout := time.After(20 * time.Second); ; {
		select {
		case line := <-v.lines:
			if strings.Contains(line, text) {
				return numbers
			}
			var e struct{ N *int }
			if json.Unmarshal([]byte(line), &e) == nil && e.N != nil {
				numbers = append(numbers, *e.N)
			}
		case <-timeout:
			v.t.Fatalf("no %s within 20 s; events so far: %v", text, numbers)
		}
	}
}

// emit posts events numbered from a up to b.
func emit(p *process, a, b int) {
	p.t.Helper()
	for n := a; n < b; n++ {
		p.must(201, "POST", "/events/sales", fmt.Sprintf(`{"event":"messages.upsert","data":{"n":%d}}`, n))
	}
}

func span(a, b int) (out []int) {
	for n := a; n < b; n++ {
		out = append(out, n)
	}
	return out
}

func TestAClientThatComesBackGetsWhatItMissedOnce(t *testing.T) {
	needs(t, "node_modules/socket.io-client")
	_, port, _ := net.SplitHostPort(freeAddress(t))
	dir, env := t.TempDir(), []string{"WEBSOCKET_ENABLED=true", "SERVER_PORT=" + port}
	p := launch(t, dir, env...)
	p.must(201, "POST", "/instance/create", `{"instanceName":"sales","websocket":{"enabled":true,"events":["MESSAGES_UPSERT"]}}`)
	v := travel(t, p.ws("/sales"))
	v.until(`"connected":true,"recovered":false`)
	emit(p, 0, 10)
	got := v.until(`"n":9}`)

	v.say("cut")
	v.until(`"disconnected"`)
	emit(p, 10, 50)
	// Whether the missed events come before or after the answer to CONNECT is the server's choice.
	got = append(append(got, 9), v.until(`"connected":true,"recovered":true`)...)
	emit(p, 50, 60)
	got = append(append(got, v.until(`"n":59}`)...), 59)
	if want := fmt.Sprint(span(0, 60)); fmt.Sprint(got) != want {
		t.Errorf("after a short break\ngot  %v\nwant %v", got, want)
	}

	p.kill()
	v.until(`"disconnected"`)
	p = launch(t, dir, append(env, "WEBSOCKET_ENABLED=false")...)
	emit(p, 60, 100)
	p.terminate()
	p = launch(t, dir, env...)
	v.until(`"connected":true,"recovered":false`)
	emit(p, 100, 110)
	got = append(v.until(`"n":109}`), 109)
	if want := fmt.Sprint(span(60, 110)); fmt.Sprint(got) != want {
		t.Errorf("after a restart\ngot  %v\nwant %v", got, want)
	}
}
