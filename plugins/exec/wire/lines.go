package wire

import (
	"bufio"
	"errors"
	"io"
)

// Lines cuts a stream into lines without ever holding more of one than its limit, however long it is. Make it with [NewLines].
type Lines struct {
	from  *bufio.Reader
	limit int
	line  []byte
	rest  bool // what follows is the rest of a line that was cut
}

// NewLines reads lines of at most limit bytes from r.
func NewLines(r io.Reader, limit int) *Lines {
	return &Lines{from: bufio.NewReaderSize(r, 32<<10), limit: limit}
}

// Next returns the next line without its end; it is valid until the call after. Of a line beyond the limit it returns the beginning, as soon as
// it is known to be too long, and reports that it is cut; the call after begins behind it. A last line without an end counts.
func (l *Lines) Next() (line []byte, cut bool, err error) {
	if err := l.skip(); err != nil {
		return nil, false, err
	}
	l.line = l.line[:0]
	for {
		part, err := l.from.ReadSlice('\n')
		if len(l.line) > 0 || err != nil {
			l.line = append(l.line, part...)
			part = l.line
		}
		switch {
		case len(withoutEnd(part)) > l.limit:
			l.rest = err != nil
			return part[:l.limit], true, nil
		case err == nil || err != nil && !errors.Is(err, bufio.ErrBufferFull) && len(part) > 0:
			return withoutEnd(part), false, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, false, err
		}
	}
}

// skip reads the rest of a line that was cut.
func (l *Lines) skip() error {
	for l.rest {
		_, err := l.from.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		l.rest = err != nil
	}
	return nil
}

func withoutEnd(line []byte) []byte {
	n := len(line)
	if n > 0 && line[n-1] == '\n' {
		n--
		if n > 0 && line[n-1] == '\r' {
			n--
		}
	}
	return line[:n]
}
