package engineio

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// compresses reports whether a polling payload of size bytes is compressed for
// a client that accepts it.
func (s *Server) compresses(size int) bool {
	return s.config.HTTPCompression > 0 && size >= s.config.HTTPCompression
}

// acceptedEncoding returns gzip, deflate, or "" for neither, by what a request
// accepts (RFC 9110, section 12.5.3). Of two that it likes as much gzip is taken.
func acceptedEncoding(header http.Header) string {
	weights := map[string]float64{}
	for field := range strings.SplitSeq(strings.Join(header["Accept-Encoding"], ","), ",") {
		coding, q := quality(field)
		weights[coding] = q
	}
	weight := func(coding string) float64 {
		if q, named := weights[coding]; named {
			return q
		}
		return weights["*"]
	}
	gzip, deflate := weight("gzip"), weight("deflate")
	switch {
	case gzip > 0 && gzip >= deflate:
		return "gzip"
	case deflate > 0:
		return "deflate"
	}
	return ""
}

// quality splits "coding;q=0.5".
func quality(field string) (coding string, q float64) {
	coding, params, _ := strings.Cut(field, ";")
	coding = strings.ToLower(strings.TrimSpace(coding))
	value, weighted := strings.CutPrefix(strings.ToLower(strings.TrimSpace(params)), "q=")
	if !weighted {
		return coding, 1
	}
	q, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return coding, 0
	}
	return coding, q
}

// A compressor is a gzip or zlib writer, each worth hundreds of KiB.
type compressor interface {
	io.WriteCloser
	Reset(io.Writer)
}

var (
	gzips = sync.Pool{New: func() any {
		w, err := gzip.NewWriterLevel(io.Discard, flate.BestSpeed)
		return mustCompressor(w, err)
	}}
	zlibs = sync.Pool{New: func() any {
		w, err := zlib.NewWriterLevel(io.Discard, flate.BestSpeed)
		return mustCompressor(w, err)
	}}
)

func mustCompressor(w compressor, err error) compressor {
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}

// compressed returns data in an accepted encoding. HTTP's deflate is zlib.
func compressed(data []byte, encoding string) []byte {
	pool := &gzips
	if encoding == "deflate" {
		pool = &zlibs
	}
	w := pool.Get().(compressor)
	defer pool.Put(w)
	var out bytes.Buffer
	w.Reset(&out)
	_, _ = w.Write(data) // a bytes.Buffer takes everything
	w.Close()
	return out.Bytes()
}
