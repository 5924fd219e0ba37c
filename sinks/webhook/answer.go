package webhook

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/evosink/evosink/core/sink"
)

// answer is what a receiver said, without the body.
type answer struct {
	status int
	header http.Header
}

// answered is the error of a receiver that answered, but not with 2xx. It holds no part of the body, which may repeat
// what was sent; that is reported to the queue, see [sink.Report].
type answered struct {
	status int
	reason string // what is wrong with a redirect, else ""
}

func (e answered) Error() string { return "the receiver answered " + statusText(e.status) + e.reason }

// statusText is "404 Not Found", or the number alone.
func statusText(code int) string {
	return strings.TrimSpace(strconv.Itoa(code) + " " + http.StatusText(code))
}

// aboutTheRequest are answers that say that this request is wrong in itself, whenever it is sent (RFC 9110, sections
// 15.5 and 15.6; RFC 6585): the method, the length, the size of body, URL or header, the type of the body, the
// version of HTTP.
var aboutTheRequest = []int{
	http.StatusMethodNotAllowed, http.StatusLengthRequired, http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong,
	http.StatusUnsupportedMediaType, http.StatusRequestHeaderFieldsTooLarge,
	http.StatusNotImplemented, http.StatusHTTPVersionNotSupported,
}

// result turns an answer into the result of the delivery, as the table in the package comment says.
func (s *Sink) result(a answer) error {
	err := answered{status: a.status}
	switch {
	case a.status/100 == 2:
		return nil
	case a.status == http.StatusGone, slices.Contains(s.config.Retry.NonRetryable, a.status):
		return sink.Permanent(err)
	case slices.Contains(aboutTheRequest, a.status) && (a.status != http.StatusRequestEntityTooLarge || a.header.Get("Retry-After") == ""):
		return sink.Permanent(err)
	case a.status == http.StatusTooManyRequests, a.status == http.StatusServiceUnavailable, a.status == http.StatusRequestEntityTooLarge:
		if wait, ok := retryAfter(a.header.Get("Retry-After"), s.now()); ok {
			return sink.RetryAfter(err, wait)
		}
		if a.status == http.StatusServiceUnavailable {
			return sink.Unavailable(err)
		}
	}
	return err
}

// maxRetryAfter bounds what is read of a Retry-After; the queue waits an hour of it at most.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads the header of that name: seconds, or a date (RFC 9110, section 10.2.3).
func retryAfter(value string, now time.Time) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0, false
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			return maxRetryAfter, true // too many digits to be less
		}
		return min(time.Duration(seconds)*time.Second, maxRetryAfter), true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), maxRetryAfter), true
}

// maxHops bounds the redirects that one attempt follows.
const maxHops = 3

// redirect returns where an answer sends the request, nil if it is no redirect. 307 and 308 keep method and body, and
// are followed within the receiver; all others would turn the POST into a GET, which loses the event.
func (a answer) redirect(from *url.URL, hops int) (*url.URL, error) {
	if a.status/100 != 3 {
		return nil, nil
	}
	fail := func(format string, args ...any) (*url.URL, error) {
		return nil, sink.Permanent(answered{a.status, fmt.Sprintf(format, args...)})
	}
	to, err := from.Parse(a.header.Get("Location"))
	switch {
	case a.header.Get("Location") == "":
		return fail(", which is no success, and names no other address")
	case err != nil || to.Hostname() == "":
		return fail(" to an address that cannot be read; set the URL to the final address")
	case a.status != http.StatusTemporaryRedirect && a.status != http.StatusPermanentRedirect:
		return fail(" to host %s, which turns a POST into a GET without the event and is not followed; set the URL to the final address", to.Host)
	case !sameReceiver(from, to):
		return fail(" to %s://%s, another receiver, which is not followed because headers may hold secrets; set the URL to the final address", to.Scheme, to.Host)
	case hops == maxHops:
		return fail(" to host %s for the %dth time in a row; set the URL to the final address", to.Host, hops+1)
	}
	if to.User == nil {
		to.User = from.User
	}
	return strict(to), nil
}
