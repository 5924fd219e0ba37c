package exec

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/evosink/evosink/core/retry"
	"github.com/evosink/evosink/plugins/exec/wire"
)

// supervise is the goroutine that keeps a process running until the sink is closed.
func (s *Sink) supervise() {
	defer close(s.done)
	restarts := restarts{Restart: s.plugin.Restart}
	for {
		err := s.live()
		if isClosed(s.stop) {
			s.use(nil, errClosed)
			return
		}
		wait, n := restarts.next(time.Now())
		if n >= s.plugin.Restart.Limit {
			err = fmt.Errorf("failing, %d ends within %v: %w", n, s.plugin.Restart.Window, err)
		}
		s.use(nil, fmt.Errorf("the plugin is down: %w", err))
		s.log.Warn().Err(err).Dur("restart_in", wait).Msg("the plugin has ended")
		retry.Sleep(s.stop, wait)
	}
}

// live is the life of one process. It returns why it has ended.
func (s *Sink) live() error {
	session, err := s.begun()
	if err != nil {
		return err
	}
	s.log.Info().Int("pid", session.proc.Pid()).Int("max_in_flight", cap(session.places)).Msg("the plugin is ready")
	s.use(session, nil)
	return session.run(s.stop, s.cut)
}

// begun returns a session that is ready. When the plugin's own schema reads the configuration in another way than what was known before, the
// process is started once more.
func (s *Sink) begun() (*session, error) {
	for again := true; ; again = false {
		_, before := s.contract.schemas()
		config := before.coerce(s.plugin.Config)
		if s.plugin.manifest != nil && s.plugin.manifest.ConfigSchema != nil {
			if err := before.check("config", config); err != nil {
				return nil, err
			}
		}
		init, err := s.init(config)
		if err != nil {
			return nil, err
		}
		session, err := open(&s.plugin, s.pluginLog)
		if err != nil {
			return nil, err
		}
		said, err := session.greet(init, s.stop, s.cut)
		if err == nil {
			err = s.learn(said)
		}
		if err != nil {
			session.kill(err)
			session.finish()
			return nil, err
		}
		_, now := s.contract.schemas()
		reread, err := s.init(now.coerce(s.plugin.Config))
		if err != nil || bytes.Equal(init, reread) || !again {
			return session, err
		}
		session.drain(s.cut)
		session.finish()
	}
}

// learn takes what the plugin says in its ready.
func (s *Sink) learn(said wire.Reply) error {
	if err := s.contract.learn(said); err != nil {
		return fmt.Errorf("ready: %w", err)
	}
	if want := map[string]string{"work": queued, "live": live}[said.Scope]; want != "" && want != s.modeName() {
		s.log.Warn().Str("scope", said.Scope).Msgf("the plugin is made for mode %s and configured as %s", want, s.modeName())
	}
	_, config := s.contract.schemas()
	return config.check("config", orEmpty(config.coerce(s.plugin.Config)))
}

func (s *Sink) modeName() string {
	if s.lanes != nil {
		return live
	}
	return queued
}

// orEmpty makes nothing an empty object, which is what is sent for it.
func orEmpty(config map[string]any) map[string]any {
	if config == nil {
		return map[string]any{}
	}
	return config
}

// node names this host to plugins.
func node() string {
	name, err := os.Hostname()
	if err != nil {
		return "evosink"
	}
	return name
}

// restarts tells how long to wait before the next one.
type restarts struct {
	Restart
	at []time.Time
}

// keptRestarts is how many are looked at: more do not make the wait longer.
const keptRestarts = 64

// next counts an end of the process and returns the wait, and how many ends there were within the window.
func (r *restarts) next(now time.Time) (wait time.Duration, n int) {
	r.at = slices.DeleteFunc(r.at, func(t time.Time) bool { return now.Sub(t) > r.Window })
	r.at = append(r.at, now)
	r.at = r.at[max(0, len(r.at)-max(keptRestarts, r.Limit)):]
	return retry.Backoff{First: r.Min, Longest: r.Max, Jitter: 0.5}.Pause(len(r.at)), len(r.at)
}
