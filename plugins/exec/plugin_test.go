//go:build unix

package exec_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/evosink/evosink/plugins/sdk"
)

// The test binary is its own plugin: run with this first argument it behaves as the second says.
const asPlugin = "evosink-test-plugin"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == asPlugin {
		modes[os.Args[2]](os.Args[3:])
		return
	}
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // or each plugin takes a second longer to end under -race
	goleak.VerifyTestMain(m)
}

// modes are the plugins of the tests.
var modes = map[string]func(args []string){
	"record": record, "good": good, "picky": picky, "poison": poison,

	"garbage": func([]string) {
		hello()
		answering(func(string) string { return strings.Repeat("Traceback: oh no\n", 150) })
	},
	"chatty": func([]string) {
		fmt.Println("starting up!")
		hello()
		answering(func(id string) string { return "debug: got " + id + "\n" + ack(id) })
	},
	"endless": func([]string) { hello(); endless() },
	"wrong-ids": func([]string) {
		hello()
		answering(func(id string) string { return ack("d-999") + "\n" + ack("me") + "\n" + ack(id) })
	},
	"twice": func([]string) {
		hello()
		answering(func(id string) string { return ack(id) + "\n" + ack(id) + "\n" + ack(id) })
	},
	"silent":      func([]string) { hello(); answering(func(string) string { return "" }) },
	"deaf":        func([]string) { hello(); time.Sleep(time.Hour) },
	"mute":        func([]string) { hello(); os.Stdout.Close(); time.Sleep(time.Hour) },
	"exits":       func([]string) { os.Exit(7) },
	"slow-start":  func([]string) { time.Sleep(time.Hour) },
	"stubborn":    func([]string) { hello(); answering(ack); time.Sleep(time.Hour) },
	"undrainable": func([]string) { hello(); answering(ack) },
	"newer":       func([]string) { fmt.Println(`{"type":"ready","protocol":2}`); time.Sleep(time.Hour) },
	"huge-schema": func([]string) {
		fmt.Printf(`{"type":"ready","protocol":1,"settings_schema":{"description":%q}}`+"\n", strings.Repeat("x", 200_000))
		time.Sleep(time.Hour)
	},
	"bomb-schema": func([]string) {
		fmt.Println(`{"type":"ready","protocol":1,"settings_schema":{"$defs":{"a":{"allOf":[{"$ref":"#/$defs/b"},{"$ref":"#/$defs/b"}]}},"$ref":"#/$defs/a"}}`)
		time.Sleep(time.Hour)
	},
	"early": func([]string) { fmt.Println(ack("d-1")); hello(); answering(ack) },
	"flood": func([]string) {
		hello()
		go func() {
			for {
				fmt.Fprintf(os.Stderr, "\x1b[31m%s\n", strings.Repeat("flood ", 100))
			}
		}()
		answering(ack)
	},
	"forks": func(args []string) {
		forked := exec.Command(os.Args[0], asPlugin, "deaf")
		forked.Stdout, forked.Stderr = os.Stdout, os.Stderr
		if err := forked.Start(); err != nil {
			panic(err)
		}
		if err := os.WriteFile(args[0], []byte(strconv.Itoa(forked.Process.Pid)), 0o600); err != nil {
			panic(err)
		}
		hello()
		answering(ack)
	},
	"escapes": func([]string) {
		forked := exec.Command("sleep", "5")
		forked.Stdout, forked.Stderr, forked.Stdin = os.Stdout, os.Stderr, os.Stdin
		forked.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := forked.Start(); err != nil {
			panic(err)
		}
		os.Exit(1)
	},
}

func hello() { fmt.Println(`{"type":"ready","protocol":1,"max_in_flight":8}`) }

func ack(id string) string { return fmt.Sprintf(`{"type":"ack","id":%q}`, id) }

// answering writes an answer to each event, to pings and to init what belongs there, and never drains.
func answering(answer func(id string) string) {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var m struct{ Type, ID string }
		if json.Unmarshal(line, &m) != nil {
			panic("the host has sent garbage: " + string(line))
		}
		switch m.Type {
		case "event":
			if out := answer(m.ID); out != "" {
				fmt.Println(out)
			}
		case "ping":
			fmt.Println(`{"type":"pong"}`)
		}
	}
}

func endless() {
	chunk := []byte(strings.Repeat("x", 1<<16))
	for {
		if _, err := os.Stdout.Write(chunk); err != nil {
			return
		}
	}
}

// record appends the ids of the events that it gets to the file args[0]; each line is one write, so a kill cuts none.
func record(args []string) {
	f, err := os.OpenFile(args[0], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	sdk.Main(sdk.Plugin{Deliver: func(_ context.Context, d *sdk.Delivery) error {
		_, err := f.WriteString(d.EventID + "\n")
		return err
	}})
}

// good acknowledges everything.
func good([]string) {
	sdk.Main(sdk.Plugin{Deliver: func(context.Context, *sdk.Delivery) error { return nil }})
}

// picky has schemas, and answers as the data says.
func picky([]string) {
	var config struct {
		Port int
		Tags []string
		On   bool
	}
	sdk.Main(sdk.Plugin{
		Config:         &config,
		ConfigSchema:   `{"type":"object","properties":{"port":{"type":"integer","minimum":1},"tags":{"type":"array","items":{"type":"string"}},"on":{"type":"boolean"}}}`,
		SettingsSchema: `{"type":"object","properties":{"room":{"type":"string","pattern":"^[a-z]+$"}},"required":["room"],"additionalProperties":false}`,
		Deliver: func(_ context.Context, d *sdk.Delivery) error {
			switch err := errors.New("no"); string(d.Data) {
			case `"permanent"`:
				return sdk.Permanent(err)
			case `"later"`:
				return sdk.RetryAfter(err, 3*time.Second)
			case `"down"`:
				return sdk.Unavailable(err)
			case `"config"`:
				return fmt.Errorf("%+v", config)
			case `"environment"`:
				return errors.New(strings.Join(os.Environ(), " "))
			case `"sleep"`:
				time.Sleep(time.Hour)
			}
			return errors.New("plain")
		},
	})
}

// poison dies of the event whose data say so, and takes its time for others.
func poison([]string) {
	sdk.Main(sdk.Plugin{Deliver: func(_ context.Context, d *sdk.Delivery) error {
		if string(d.Data) == `"poison"` {
			os.Exit(9)
		}
		time.Sleep(5 * time.Millisecond)
		return nil
	}})
}
