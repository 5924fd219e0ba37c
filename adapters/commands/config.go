package commands

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Config is the section "commands". Begin with [Default].
type Config struct {
	URL     string            `koanf:"url" env:"COMMANDS_URL" help:"Base address of the main API, which does clients' commands (socket.emit(\"send.message\", {...})); empty: commands are answered with the code unavailable."`
	Routes  map[string]string `koanf:"routes" env:"COMMANDS_ROUTES" help:"Route of the main API per command: \"POST /message/sendText/{instance}\". Those of Evolution API are there; an empty route takes one away."`
	Timeout time.Duration     `koanf:"timeout" env:"COMMANDS_TIMEOUT" help:"How long the main API may take."`
	// MaxAnswer bounds what is read of an answer.
	MaxAnswer int `koanf:"max_answer" env:"COMMANDS_MAX_ANSWER" help:"Largest answer of the main API that is handed on, in bytes."`
}

// Default returns the defaults; the routes are those of Evolution API for what a chat client does.
func Default() Config {
	return Config{Timeout: 25 * time.Second, MaxAnswer: 1 << 20, Routes: map[string]string{
		"send.message":    "POST /message/sendText/{instance}",
		"send.media":      "POST /message/sendMedia/{instance}",
		"send.audio":      "POST /message/sendWhatsAppAudio/{instance}",
		"send.sticker":    "POST /message/sendSticker/{instance}",
		"send.location":   "POST /message/sendLocation/{instance}",
		"send.contact":    "POST /message/sendContact/{instance}",
		"send.reaction":   "POST /message/sendReaction/{instance}",
		"send.poll":       "POST /message/sendPoll/{instance}",
		"send.list":       "POST /message/sendList/{instance}",
		"chat.read":       "POST /chat/markMessageAsRead/{instance}",
		"chat.presence":   "POST /chat/sendPresence/{instance}",
		"chat.archive":    "POST /chat/archiveChat/{instance}",
		"message.delete":  "DELETE /chat/deleteMessageForEveryone/{instance}",
		"message.update":  "POST /chat/updateMessage/{instance}",
		"instance.state":  "GET /instance/connectionState/{instance}",
		"instance.logout": "DELETE /instance/logout/{instance}",
	}}
}

// Validate reports everything that is wrong with c, in keys of the section.
func (c *Config) Validate() error {
	if c.URL == "" {
		return nil
	}
	var errs []error
	if u, err := url.Parse(c.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		errs = append(errs, errors.New(`url must be an http or https address like "http://api:8080"`))
	}
	if c.Timeout <= 0 {
		errs = append(errs, errors.New("timeout must be above 0"))
	}
	if c.MaxAnswer <= 0 {
		errs = append(errs, errors.New("max_answer must be above 0"))
	}
	for name, text := range c.Routes {
		if _, err := parseRoute(text); err != nil {
			errs = append(errs, fmt.Errorf("routes.%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// A route is where a command goes.
type route struct{ method, path string }

var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

func parseRoute(text string) (route, error) {
	if text == "" {
		return route{}, nil
	}
	method, path, _ := strings.Cut(text, " ")
	if !slices.Contains(methods, method) || !strings.HasPrefix(path, "/") || strings.ContainsAny(path, " ?#") {
		return route{}, fmt.Errorf(`%q is not like "POST /message/sendText/{instance}"`, text)
	}
	return route{method, path}, nil
}
