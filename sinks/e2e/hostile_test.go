package e2e_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// limited starts evosink with a limit of open files.
func limited(t *testing.T, files int, env ...string) *process {
	t.Helper()
	onLinux(t)
	return launchCommand(t, t.TempDir(), exec.Command("/bin/sh", "-c", fmt.Sprintf("ulimit -n %d && exec %s", files, binary)), env...)
}

func onLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc, and the addresses 127.0.0.0/8 on the loopback interface, as Linux has them")
	}
}

// connect opens a connection from an address of the loopback interface and sends what is given. It stays until the test
// ends.
func (p *process) connect(from, send string) net.Conn {
	p.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 30 * time.Second}
	conn, err := dialer.Dial("tcp4", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	go io.WriteString(conn, send) // ends with the connection
	return conn
}

// ask sends a request over a connection of its own and returns the status.
func (p *process) ask(from, request string) int {
	p.t.Helper()
	conn := p.connect(from, request)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		p.t.Errorf("%.20s: %v", request, err)
		return 0
	}
	io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	return answer.StatusCode
}

const handshake = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

func TestHealthChecksAreAnsweredWhenClientsTakeAllDescriptors(t *testing.T) {
	p := limited(t, 64, "WEBSOCKET_ENABLED=true")
	for range 80 {
		p.connect("127.0.0.1", handshake)
	}
	for range 20 {
		for _, path := range []string{"/readyz", "/healthz"} {
			if status := p.ask("127.0.0.1", "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); status != 200 {
				t.Fatalf("%s was answered %d", path, status)
			}
		}
	}
	if status := p.ask("127.0.0.2", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); status != 200 {
		t.Errorf("a client of another address was answered %d", status)
	}
}

func TestPeersThatReadNoAnswerShutOutNoOthers(t *testing.T) {
	p := limited(t, 256)
	for range 300 {
		p.connect("127.0.0.2", strings.Repeat("GET /openapi.yaml HTTP/1.1\r\nHost: x\r\n\r\n", 200))
	}
	event := `{"event":"messages.upsert","data":{}}`
	for range 20 {
		post := fmt.Sprintf("POST /events/sales HTTP/1.1\r\nHost: x\r\napikey: %s\r\nContent-Length: %d\r\n\r\n%s", key, len(event), event)
		if status := p.ask("127.0.0.3", post); status != 201 {
			t.Fatalf("an event of another address was answered %d", status)
		}
	}
	if status := p.ask("127.0.0.2", "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"); status != 200 {
		t.Errorf("/readyz was answered %d", status)
	}
}

// Twelve uploads of 32 MiB by one tenant, which stop before their last byte, are one that is held and eleven that are
// refused.
func TestUploadsThatStallHoldLittleMemory(t *testing.T) {
	onLinux(t)
	p := launch(t, t.TempDir(), "GOGC=20") // what is held counts here, not what the collector has not come to yet
	const token = "the-token-of-sales"
	p.must(201, "POST", "/instance/create", `{"instanceName":"sales","token":"`+token+`"}`)
	event := []byte(`{"event":"messages.upsert","data":"` + strings.Repeat("x", 8<<20) + `"}`)
	body := append(append([]byte("["), bytes.Join([][]byte{event, event, event, event}, []byte(","))...), ']')
	head := fmt.Sprintf("POST /events/sales HTTP/1.1\r\nHost: x\r\napikey: %s\r\nContent-Length: %d\r\n\r\n", token, len(body))
	const uploads, fit = 12, 1 // one tenant has half of 128 MiB, and each is a little more than 32
	statuses := make(chan int, uploads)
	last := make(chan struct{})
	for range uploads {
		conn := p.connect("127.0.0.1", "")
		go func() {
			io.WriteString(conn, head)
			conn.Write(body[:len(body)-1])
			<-last
			conn.Write(body[len(body)-1:])
		}()
		go func() {
			answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				statuses <- 0
				return
			}
			answer.Body.Close()
			statuses <- answer.StatusCode
		}()
	}
	for range uploads - fit {
		select {
		case status := <-statuses:
			if status != 429 {
				t.Fatalf("an upload was answered %d", status)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("too many uploads are held; the peak of memory is %d MiB", p.peak())
		}
	}
	if peak := p.peak(); peak > 200 {
		t.Errorf("%d uploads took %d MiB at the peak", uploads, peak)
	}
	close(last)
	if status := <-statuses; status != 201 {
		t.Errorf("the upload that was held was answered %d", status)
	}
}

// peak returns the most memory that the process has had, in MiB.
func (p *process) peak() int {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); fields[0] == "VmHWM:" {
			kib, err := strconv.Atoi(fields[1])
			if err != nil {
				p.t.Fatal(err)
			}
			return kib / 1024
		}
	}
	p.t.Fatal("no peak in /proc")
	return 0
}
