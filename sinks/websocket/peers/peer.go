package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/evosink/evosink/sinks/websocket/peers/internal/crowd"
)

// A peer is one of the servers to compare.
type peer struct {
	folder  string // in servers
	name    string // in the results
	dialect crowd.Dialect
	module  string   // whose version belongs to the name
	command []string // that runs it, once built
}

// The folders of the server the project is about, and of the one it is held
// against.
const ours, bare = "evosink", "gorilla"

var peers = []peer{
	{folder: ours, name: "evosink", dialect: crowd.SocketIO},
	{folder: bare, name: "bare gorilla loop, PreparedMessage", dialect: crowd.Bare},
	{folder: "centrifuge", name: "centrifuge", dialect: crowd.Centrifuge, module: "github.com/centrifugal/centrifuge"},
	{folder: "node", name: "Node socket.io", dialect: crowd.SocketIO},
	{folder: "zishang", name: "zishang520/socket.io", dialect: crowd.SocketIO, module: "github.com/zishang520/socket.io/servers/socket/v3"},
}

// build builds the peers that only names into folder. What cannot be built is
// left out, and missing says why.
func build(ctx context.Context, folder, only string) (built []peer, missing []string) {
	for _, p := range peers {
		if only != "" && !slices.Contains(strings.Split(only, ","), p.folder) {
			continue
		}
		log.Printf("build %s", p.name)
		var err error
		if p.folder == "node" {
			err = p.install(ctx)
		} else {
			err = p.compile(ctx, filepath.Join(folder, p.folder))
		}
		if err != nil {
			missing = append(missing, fmt.Sprintf("%s: %v", p.name, err))
			log.Printf("leave out %s", missing[len(missing)-1])
			continue
		}
		built = append(built, p)
	}
	return built, missing
}

// compile builds a server in Go.
func (p *peer) compile(ctx context.Context, binary string) error {
	if _, err := output(ctx, "go", "build", "-o", binary, "./servers/"+p.folder); err != nil {
		return err
	}
	p.command = []string{binary}
	if p.module == "" {
		return nil
	}
	version, err := output(ctx, "go", "list", "-m", "-f", "{{.Version}}", p.module)
	p.name += " " + strings.TrimPrefix(version, "v")
	return err
}

// install fetches what the server in Node needs, if it is not there.
func (p *peer) install(ctx context.Context) error {
	folder := filepath.Join("servers", p.folder)
	if _, err := os.Stat(filepath.Join(folder, "node_modules")); err != nil {
		if _, err := output(ctx, "npm", "ci", "--prefix", folder, "--no-fund", "--no-audit", "--silent"); err != nil {
			return err
		}
	}
	p.command = []string{"node", "--expose-gc", filepath.Join(folder, "server.js")}
	version, err := output(ctx, "node", "-p", "require('./"+folder+"/node_modules/socket.io/package.json').version")
	p.name += " " + version
	return err
}

// output runs a command and returns what it says.
func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
