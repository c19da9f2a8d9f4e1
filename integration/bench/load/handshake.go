package load

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// patience bounds the wait for a first answer, and one handshake with its request.
const patience = 10 * time.Second

// handshakes makes full handshakes, each with a request that shows that the server took the client's certificate, so many at a
// time as there are connections.
func handshakes(s Spec) (Result, error) {
	cfg, err := s.TLS.config()
	if err != nil {
		return Result{}, err
	}
	m := meter{began: time.Now()}
	var mu sync.Mutex
	var failed error
	var over atomic.Bool
	var g sync.WaitGroup
	for range s.Conns {
		g.Go(func() {
			for !over.Load() {
				begun := m.now()
				err := handshake(s, cfg)
				mu.Lock()
				if err != nil {
					failed = err
					over.Store(true)
				}
				m.count(begun)
				mu.Unlock()
			}
		})
	}
	time.Sleep(s.Warm)
	before, err := clocks(s.Pids)
	began := time.Now()
	set := func(measuring bool) (done float64) {
		mu.Lock()
		defer mu.Unlock()
		m.measuring = measuring
		return m.done
	}
	set(true)
	time.Sleep(s.For)
	for end := began.Add(patience); set(true) == 0 && !over.Load() && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	done := set(false)
	seconds := time.Since(began).Seconds()
	cpu, err2 := since(before, s.Pids)
	over.Store(true)
	g.Wait()
	if err := errors.Join(err, err2, failed); err != nil {
		return Result{}, fmt.Errorf("handshakes with %s: %w", s.Address, err)
	}
	if done == 0 {
		return Result{}, fmt.Errorf("handshakes with %s: none in %.1f s", s.Address, seconds)
	}
	return m.result(seconds, cpu), nil
}

func handshake(s Spec, cfg *tls.Config) error {
	raw, err := (&tls.Dialer{Config: cfg}).Dial("tcp", s.Address.String())
	if err != nil {
		return err
	}
	defer raw.Close()
	conn := raw.(*tls.Conn)
	_ = conn.SetDeadline(time.Now().Add(patience))
	if state := conn.ConnectionState(); state.DidResume || state.CurveID != tls.X25519 || state.CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		return fmt.Errorf("handshake is not the one that is measured: resumed %v, group %v, %s", state.DidResume, state.CurveID, tls.CipherSuiteName(state.CipherSuite))
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: web\r\n\r\n", s.Path); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("answered: %s", resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// config trusts the file's authorities for any name: mesh certificates name no host, and whom the client talks to is not what is
// measured.
func (t *TLS) config() (*tls.Config, error) {
	pem, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, fmt.Errorf("authorities: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	cfg := &tls.Config{
		RootCAs: roots, ServerName: t.ServerName, MinVersion: tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519}, SessionTicketsDisabled: true, InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			chain := x509.NewCertPool()
			for _, c := range state.PeerCertificates[1:] {
				chain.AddCert(c)
			}
			_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: chain, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
			return err
		},
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("client's certificate: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	if t.ALPN != "" {
		cfg.NextProtos = []string{t.ALPN}
	}
	return cfg, nil
}
