package exec

import (
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/plugins/exec/wire"
)

// How much of what a plugin says is logged: a burst, then a steady rate. The rest is counted.
const (
	voiceBurst = 100
	voiceRate  = 20 // per second
)

// A voice logs what a plugin says, bounded in rate and length.
type voice struct {
	log zerolog.Logger

	mu sync.Mutex
	// mu guards the fields below.
	credit float64
	at     time.Time
	unsaid int
}

func newVoice(log zerolog.Logger) *voice { return &voice{log: log, credit: voiceBurst, at: time.Now()} }

// say logs a text at a level of the protocol.
func (v *voice) say(level, text, stream string) {
	unsaid, ok := v.may()
	if !ok {
		return
	}
	if unsaid > 0 {
		v.log.Warn().Int("lines", unsaid).Msg("the plugin says more than is logged: lines were left out")
	}
	l, err := zerolog.ParseLevel(level)
	if err != nil {
		l = zerolog.InfoLevel
	}
	v.log.WithLevel(l).Str("stream", stream).Msg(text)
}

// may takes one line's credit; unsaid is how many lines had none since the last one.
func (v *voice) may() (unsaid int, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	v.credit = min(voiceBurst, v.credit+now.Sub(v.at).Seconds()*voiceRate)
	v.at = now
	if v.credit < 1 {
		v.unsaid++
		return 0, false
	}
	v.credit--
	unsaid, v.unsaid = v.unsaid, 0
	return unsaid, true
}

// speak logs a stream line by line until it ends. It reads on whatever is logged, so the plugin never waits for it.
func (v *voice) speak(lines *wire.Lines, stream string) {
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
			v.say("info", text, stream)
		}
	}
}
