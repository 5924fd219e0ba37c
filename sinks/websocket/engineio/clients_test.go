package engineio_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"golang.org/x/sync/errgroup"
)

// clientsEnv makes the test binary a crowd of websocket clients: their number,
// from clientsAddr. A process of its own keeps their cost out of the server's
// figures, and their descriptors out of its limit.
const (
	clientsEnv  = "ENGINEIO_TEST_CLIENTS"
	clientsAddr = "ENGINEIO_TEST_ADDRESS"
	clientsPath = "ENGINEIO_TEST_PATH"
)

// websocketPath opens a session.
const websocketPath = "/?EIO=4&transport=websocket"

// crowd starts n clients that read and discard, and returns once they are
// connected. They leave when the benchmark ends.
func crowd(b *testing.B, address, path string, n int) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), clientsEnv+"="+strconv.Itoa(n), clientsAddr+"="+address, clientsPath+"="+path)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		b.Fatalf("the clients say %q: %v", line, err)
	}
}

// runClients is the main function of the crowd.
func runClients() error {
	n, err := strconv.Atoi(os.Getenv(clientsEnv))
	if err != nil {
		return err
	}
	var dialers errgroup.Group
	dialers.SetLimit(16)
	for range n {
		dialers.Go(func() error {
			conn, _, err := dialRaw(os.Getenv(clientsAddr), os.Getenv(clientsPath))
			if err == nil {
				go io.Copy(io.Discard, conn)
			}
			return err
		})
	}
	if err := dialers.Wait(); err != nil {
		return err
	}
	fmt.Println("connected")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// dialRaw makes a websocket handshake and leaves the rest to the caller.
func dialRaw(address, path string) (net.Conn, *bufio.Reader, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, nil, err
	}
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", path)
	r := bufio.NewReader(conn)
	response, err := http.ReadResponse(r, nil)
	if err == nil && response.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("handshake answered with %s", response.Status)
	}
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, r, nil
}
