package socketio_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/evosink/evosink/sinks/websocket/socketio"
	"github.com/gorilla/websocket"
)

// The benchmarks hold server and clients in one process, so they show ratios
// (socketio beside gorilla in one run) and not a server's cost by itself. The
// clients only read and count bytes.

// kib is a JSON object of about a kibibyte.
var kib = json.RawMessage(`{"event":"messages.upsert","data":{"text":"` + strings.Repeat("lorem ipsum ", 82) + `"}}`)

// A sinkhole is clients that read and count what comes.
type sinkhole struct {
	conns []net.Conn
	bytes atomic.Int64
	wg    sync.WaitGroup
}

// open connects n clients by websocket and, if join is not empty, has client i
// send join(i).
func (h *sinkhole) open(b testing.TB, url string, n int, join func(i int) string) {
	b.Helper()
	dialer := websocket.Dialer{ReadBufferSize: 512, WriteBufferSize: 256}
	for i := range n {
		c, resp, err := dialer.Dial("ws"+strings.TrimPrefix(url, "http")+"?EIO=4&transport=websocket", nil)
		if err != nil {
			b.Fatal(i, err)
		}
		resp.Body.Close()
		if join != nil {
			c.ReadMessage() // open
			c.WriteMessage(websocket.TextMessage, []byte(join(i)))
			c.ReadMessage() // CONNECT
		}
		h.conns = append(h.conns, c.NetConn())
	}
}

// drain reads from all clients until they are closed.
func (h *sinkhole) drain() {
	for _, c := range h.conns {
		h.wg.Go(func() {
			buf := make([]byte, 64<<10)
			for {
				n, err := c.Read(buf)
				h.bytes.Add(int64(n))
				if err != nil {
					return
				}
			}
		})
	}
}

func (h *sinkhole) close() {
	for _, c := range h.conns {
		c.Close()
	}
	h.wg.Wait()
}

// await waits until total bytes have come.
func (h *sinkhole) await(total int64) {
	for h.bytes.Load() < total {
		time.Sleep(50 * time.Microsecond)
	}
}

// frame is how many bytes a text of n bytes is on the wire.
func frame(n int) int64 {
	switch {
	case n < 126:
		return int64(n) + 2
	case n < 1<<16:
		return int64(n) + 4
	}
	return int64(n) + 10
}

// cpu is the processor time the process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fanOut measures emitting in bursts to clients: each round emits burst events
// and waits until every client has them.
func fanOut(b *testing.B, h *sinkhole, burst int, perEvent int64, emit func()) {
	h.drain()
	defer h.close()
	clients := int64(len(h.conns))
	before := cpu()
	b.ReportAllocs()
	rounds := int64(0)
	for b.Loop() {
		for range burst {
			emit()
		}
		rounds++
		h.await(rounds * int64(burst) * clients * perEvent)
	}
	b.StopTimer()
	deliveries := rounds * int64(burst) * clients
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(deliveries), "cpu-ns/delivery")
	b.ReportMetric(0, "ns/op")
}

const fanOutClients = 1000

func BenchmarkFanOut(b *testing.B) {
	for _, burst := range []int{1, 50} {
		b.Run(fmt.Sprintf("burst=%d/socketio", burst), func(b *testing.B) {
			srv, url := serve(b, nil)
			n := srv.Handle("/", socketio.Hooks{})
			h := new(sinkhole)
			h.open(b, url, fanOutClients, func(int) string { return "40" })
			text := `42["messages.upsert",` + string(kib) + `]`
			fanOut(b, h, burst, frame(len(text)), func() { n.Emit(ctx, "messages.upsert", socketio.Raw(kib)) })
		})
		b.Run(fmt.Sprintf("burst=%d/gorilla", burst), func(b *testing.B) {
			hub, url := gorillaHub(b)
			h := new(sinkhole)
			h.open(b, url, fanOutClients, nil)
			text := []byte(`42["messages.upsert",` + string(kib) + `]`)
			fanOut(b, h, burst, frame(len(text)), func() {
				m, _ := websocket.NewPreparedMessage(websocket.TextMessage, text)
				for _, c := range hub() {
					c.WritePreparedMessage(m)
				}
			})
		})
	}
}

// gorillaHub is the bare loop to compare with: connections and nothing else.
func gorillaHub(b *testing.B) (conns func() []*websocket.Conn, url string) {
	var mu sync.Mutex
	var all []*websocket.Conn
	upgrader := websocket.Upgrader{ReadBufferSize: 512, WriteBufferSize: 512}
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		mu.Lock()
		all = append(all, c)
		mu.Unlock()
		for {
			if _, _, err := c.ReadMessage(); err != nil {
				c.Close()
				return
			}
		}
	}))
	b.Cleanup(ts.Close)
	return func() []*websocket.Conn {
		mu.Lock()
		defer mu.Unlock()
		return all
	}, ts.URL
}

func BenchmarkThousandNamespacesOfFive(b *testing.B) {
	srv, url := serve(b, nil)
	srv.HandleFunc(func(string) bool { return true }, socketio.Hooks{})
	h := new(sinkhole)
	h.open(b, url, 5000, func(i int) string { return fmt.Sprintf("40/n%04d,", i/5) })
	h.drain()
	defer h.close()
	perEvent := frame(len(`42/n0000,["messages.upsert",`+string(kib)+`]`)) * 5
	before, rounds := cpu(), int64(0)
	b.ReportAllocs()
	for b.Loop() {
		srv.Namespace(fmt.Sprintf("/n%04d", rounds%1000)).Emit(ctx, "messages.upsert", socketio.Raw(kib))
		rounds++
		if rounds%100 == 0 {
			h.await(rounds * perEvent)
		}
	}
	h.await(rounds * perEvent)
	b.StopTimer()
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(rounds*5), "cpu-ns/delivery")
}

func BenchmarkEmitToAnEmptyNamespace(b *testing.B) {
	srv, _ := serve(b, nil)
	n := srv.Handle("/", socketio.Hooks{})
	b.ReportAllocs()
	for b.Loop() {
		n.Emit(ctx, "messages.upsert", socketio.Raw(kib))
	}
}

func BenchmarkAcknowledgedEvent(b *testing.B) {
	srv, url := serve(b, nil)
	srv.Handle("/", socketio.Hooks{Event: echo(nil)})
	w := dialWire(b, url, "EIO=4")
	defer w.close()
	w.send("40")
	w.receive()
	b.ReportAllocs()
	for b.Loop() {
		w.send(`421["echo",1]`)
		w.receive()
	}
}

// BenchmarkIdleClients tells what an idle client costs the process. The
// clients live in another.
func BenchmarkIdleClients(b *testing.B) {
	const clients = 10_000
	srv, url := serve(b, nil)
	n := srv.Handle("/", socketio.Hooks{})
	for b.Loop() {
		before, start := inUse(), time.Now()
		hangUp := idleClients(b, url, clients)
		for n.Len() < clients {
			time.Sleep(time.Millisecond)
		}
		took := time.Since(start)
		time.Sleep(time.Second) // readers park, buffers go
		b.ReportMetric(float64(inUse()-before)/clients, "B/client")
		b.ReportMetric(clients/took.Seconds(), "connects/s")
		b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
		hangUp()
		for n.Len() > 0 {
			time.Sleep(time.Millisecond)
		}
	}
	b.ReportMetric(0, "ns/op")
}

// inUse is the heap and stack memory in use.
func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// The variables that make the test binary a process of idle clients.
const idleURL, idleCount = "SOCKETIO_IDLE_URL", "SOCKETIO_IDLE_COUNT"

// idleClients starts a process of clients that join "/" and stay. hangUp ends
// it.
func idleClients(b *testing.B, url string, count int) (hangUp func()) {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), idleURL+"="+url, idleCount+"="+strconv.Itoa(count))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	return func() {
		in.Close()
		cmd.Wait()
	}
}

// beIdle is that process: it ends with its input.
func beIdle(url string) {
	count, _ := strconv.Atoi(os.Getenv(idleCount))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range count / 8 {
				if err := idleClient(url); err != nil {
					fmt.Fprintln(os.Stderr, "idle client:", err)
				}
			}
		})
	}
	wg.Wait()
	io.Copy(io.Discard, os.Stdin)
}

// idleClient joins "/" over a bare descriptor, which it leaves open.
func idleClient(url string) error {
	addr, err := net.ResolveTCPAddr("tcp", strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/socket.io/"))
	if err != nil {
		return err
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())}); err != nil {
		return err
	}
	const handshake = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	if _, err := syscall.Write(fd, []byte(handshake)); err != nil {
		return err
	}
	if _, err := syscall.Read(fd, make([]byte, 1024)); err != nil {
		return err
	}
	_, err = syscall.Write(fd, []byte{0x81, 0x82, 0, 0, 0, 0, '4', '0'})
	return err
}
