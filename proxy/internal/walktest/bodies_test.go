package walktest

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/weft-mesh/weft/proxy/internal/flow"
)

// pattern is a long body of a short block that is repeated: nobody has to hold it, and its parts are not alike for a reader
// of pieces of a usual size.
type pattern struct {
	at, length int64
	block      [65521]byte // a prime number
	sum        hash.Hash
	watch      func(done int64)
}

func newPattern(length int64, watch func(int64)) *pattern {
	p := &pattern{length: length, sum: sha256.New(), watch: watch}
	rand.NewChaCha8([32]byte{7}).Read(p.block[:])
	return p
}

// Read makes the next bytes.
func (p *pattern) Read(b []byte) (int, error) {
	if p.at == p.length {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), p.length-p.at))
	n = copy(b[:n], p.block[p.at%int64(len(p.block)):])
	p.sum.Write(b[:n])
	p.at += int64(n)
	p.watch(p.at)
	return n, nil
}

// Close ends nothing; net/http wants it.
func (p *pattern) Close() error { return nil }

// heap is the most memory that a test has seen in use, above what was in use when it began.
type heap struct {
	before uint64
	most   atomic.Uint64
}

func newHeap() *heap {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return &heap{before: m.HeapInuse}
}

// look measures every 2 MB.
func (h *heap) look(done int64) {
	if done%(2<<20) >= 64<<10 {
		return
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	for {
		old := h.most.Load()
		if m.HeapInuse <= old || h.most.CompareAndSwap(old, m.HeapInuse) {
			return
		}
	}
}

// above is the most that was in use, in MB more than at the beginning.
func (h *heap) above() int64 { return (int64(h.most.Load()) - int64(h.before)) >> 20 }

// bodyLength is how long the bodies are: a quarter by HTTP/2, which costs more, and with the race detector, and less again where
// there is one sidecar only.
func bodyLength(w *walk, version int) int64 {
	length := int64(256 << 20)
	if version == 2 {
		length /= 4
	}
	if raced {
		length /= 4
	}
	if !w.mtls {
		length /= 4
	}
	return length
}

// TestR8_LargeBodiesBothWaysAtOnce: 256 MB go up while 256 MB come down, of one request, and memory does not grow with them:
// all that both sidecars, the client and the program hold together stays far below one body.
func TestR8_LargeBodiesBothWaysAtOnce(t *testing.T) {
	const most = 32 // MB
	app := func(w http.ResponseWriter, r *http.Request) {
		length, _ := strconv.ParseInt(r.URL.Query().Get("length"), 10, 64)
		http.NewResponseController(w).EnableFullDuplex() // HTTP/2 is so anyway
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
		sum := sha256.New()
		got := make(chan error, 1)
		go func() {
			_, err := io.Copy(sum, r.Body)
			got <- err
		}()
		_, err := io.Copy(w, newPattern(length, func(int64) {}))
		if up := <-got; err != nil || up != nil {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("X-Sum", hex.EncodeToString(sum.Sum(nil)))
	}
	versions(t, app, func(t *testing.T, w *walk, cl *http.Client) {
		version := 1
		if p := cl.Transport.(*http.Transport).Protocols; p != nil {
			version = 2
		}
		length := bodyLength(w, version)
		memory := newHeap()
		up, down := newPattern(length, memory.look), newPattern(length, memory.look)
		io.Copy(io.Discard, down) // for its sum
		resp, err := cl.Post("http://"+w.addr+"/?length="+strconv.FormatInt(length, 10), "application/octet-stream", up)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		sum := sha256.New()
		n, err := io.Copy(sum, resp.Body)
		if err != nil || n != length || hex.EncodeToString(sum.Sum(nil)) != hex.EncodeToString(down.sum.Sum(nil)) {
			t.Fatalf("got %d bytes of others, %v", n, err)
		}
		if got := resp.Trailer.Get("X-Sum"); got != hex.EncodeToString(up.sum.Sum(nil)) {
			t.Errorf("the program saw another body")
		}
		if rec := w.records.Wait(1)[0]; rec.BytesSent != length || rec.BytesReceived != length || rec.Reason != flow.None {
			t.Errorf("record %+v", rec)
		}
		t.Logf("2 bodies of %d MB: %d MB above the beginning", length>>20, memory.above())
		if memory.most.Load() == 0 || memory.above() > most {
			t.Errorf("%d MB in use for 2 bodies of %d MB", memory.above(), length>>20)
		}
	})
}
