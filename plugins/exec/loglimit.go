package exec

import (
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/plugins/exec/wire"
)

// How much of what a plugin says is logged: a burst, then a steady rate. The rest is counted.
const (
	logBurst = 100
	logRate  = 20 // per second
)

// A logLimiter logs what a plugin says, bounded in rate and length.
type logLimiter struct {
	log zerolog.Logger

	mu sync.Mutex
	// mu guards the fields below.
	credit  float64
	at      time.Time
	omitted int
}

func newLogLimiter(log zerolog.Logger) *logLimiter {
	return &logLimiter{log: log, credit: logBurst, at: time.Now()}
}

// write logs a text at a level of the protocol.
func (l *logLimiter) write(level, text, stream string) {
	omitted, ok := l.allow()
	if !ok {
		return
	}
	if omitted > 0 {
		l.log.Warn().Int("lines", omitted).Msg("the plugin says more than is logged: lines were left out")
	}
	parsed, err := zerolog.ParseLevel(level)
	if err != nil {
		parsed = zerolog.InfoLevel
	}
	l.log.WithLevel(parsed).Str("stream", stream).Msg(text)
}

// allow takes one line's credit; omitted is how many lines had none since the last one.
func (l *logLimiter) allow() (omitted int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.credit = min(logBurst, l.credit+now.Sub(l.at).Seconds()*logRate)
	l.at = now
	if l.credit < 1 {
		l.omitted++
		return 0, false
	}
	l.credit--
	omitted, l.omitted = l.omitted, 0
	return omitted, true
}

// copy logs a stream line by line until it ends. It reads on whatever is logged, so the plugin never waits for it.
func (l *logLimiter) copy(lines *wire.Lines, stream string) {
	for {
		line, cut, err := lines.Next()
		if err != nil {
			return
		}
		text := wire.Printable(line)
		if cut {
			text += " …"
		}
		if text != "" {
			l.write("info", text, stream)
		}
	}
}
