package differ

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
)

// recorder is a program that keeps what it is asked, as it understands it, and answers with the number under which it did.
type recorder struct {
	*httptest.Server

	mu    sync.Mutex
	seen  []entry
	first int // the number of seen[0]
}

// entry is one request as the program understood it.
type entry struct {
	method, target, host string
	header               http.Header
	body                 []byte
	whole                bool // its body has come to its end
	known                bool // an answer has named it
}

func newRecorder(tb testing.TB) *recorder {
	r := &recorder{}
	r.Server = httptest.NewUnstartedServer(r)
	r.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.Config.DisableGeneralOptionsHandler = true
	r.Start()
	tb.Cleanup(r.Close)
	return r
}

// ServeHTTP keeps the request.
func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	r.mu.Lock()
	n := r.first + len(r.seen)
	r.seen = append(r.seen, entry{method: req.Method, target: req.RequestURI, host: req.Host, header: req.Header, body: body, whole: err == nil})
	r.mu.Unlock()
	w.Header().Set("X-Seen", strconv.Itoa(n))
	_, _ = io.WriteString(w, "ok") // the client's end is the client's matter
}

// named finds the entry that an answer names; nil when it names none.
func (r *recorder) named(resp *http.Response) *entry {
	n, err := strconv.Atoi(resp.Header.Get("X-Seen"))
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil || n < r.first || n >= r.first+len(r.seen) {
		return nil
	}
	e := &r.seen[n-r.first]
	e.known = true
	return e
}

// rest are the entries that no answer has named; they are forgotten with all others.
func (r *recorder) rest() (list []entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.seen {
		if !e.known {
			list = append(list, e)
		}
	}
	r.first += len(r.seen)
	r.seen = nil
	return list
}
