package pusher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/evosink/evosink/core/sink"
)

// post signs a request and sends it. The package comment says which answer means what.
func (s *Sink) post(ctx context.Context, a app, endpoint string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	path := "/apps/" + a.ID + endpoint
	host := a.url(s.config.Host)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, host+path+"?"+a.sign(path, body, time.Now()), bytes.NewReader(body))
	if err != nil {
		return sink.Permanent(errors.New("the app's settings make no address"))
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "evosink")
	res, err := s.transport.RoundTrip(r) // below http.Client, which would follow redirects and show the signature in errors
	if err != nil {
		return failure(ctx, host, err)
	}
	head := sink.ReadHead(ctx, res)
	_ = res.Body.Close()
	status := strings.TrimSpace(strconv.Itoa(res.StatusCode) + " " + http.StatusText(res.StatusCode))
	sink.Report(ctx, sink.Answer{Status: status, Head: head})
	return judge(a, res, fmt.Errorf("%s answered %s", host, status))
}

// failure is what becomes of a request without an answer. The event was not judged.
func failure(ctx context.Context, host string, err error) error {
	var address *url.Error
	if errors.As(err, &address) {
		err = address.Err
	}
	err = fmt.Errorf("post to %s: %w", host, err)
	if errors.Is(ctx.Err(), context.Canceled) {
		return err
	}
	return sink.Unavailable(err)
}

// errRefused marks answers that blame the request, and so one of its events.
var errRefused = errors.New("the request was refused")

func judge(a app, res *http.Response, err error) error {
	switch code := res.StatusCode; {
	case code/100 == 2:
		return nil
	case code == http.StatusUnauthorized:
		return sink.Unavailable(fmt.Errorf("%w: key or secret of app %s is wrong, or a clock is more than ten minutes off", err, a.ID))
	case code == http.StatusForbidden:
		return sink.Unavailable(fmt.Errorf("%w: app %s is disabled or over its quota", err, a.ID))
	case code == http.StatusNotFound:
		return fmt.Errorf("%w: there is no app %s on cluster %q", err, a.ID, a.Cluster)
	case code == http.StatusBadRequest || code == http.StatusRequestEntityTooLarge:
		return sink.Permanent(errors.Join(err, errRefused))
	case code == http.StatusTooManyRequests, code >= 500:
		if seconds, bad := strconv.Atoi(res.Header.Get("Retry-After")); bad == nil && seconds > 0 {
			return sink.RetryAfter(err, min(time.Duration(seconds)*time.Second, time.Hour))
		}
		return sink.Unavailable(err)
	}
	return err
}
