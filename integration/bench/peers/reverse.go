package peers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// idlePerHost is how many connections the reference keeps: more than any load has.
const idlePerHost = 2048

func (h Half) save() (string, error) {
	raw, err := json.Marshal(h)
	if err != nil {
		return "", fmt.Errorf("encode: %w", err)
	}
	file := filepath.Join(h.Dir, "reverse-proxy.json")
	return file, write(file, raw)
}

// ReverseProxy is the reference: net/http's ReverseProxy, as its documentation has one use it, with the settings of a file.
func ReverseProxy(ctx context.Context, file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var h Half
	if err := json.Unmarshal(raw, &h); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	accept, connect, err := h.tls()
	if err != nil {
		return err
	}
	failed := make(chan error, 3)
	go func() { failed <- h.serve(h.At.HTTP.String(), h.To.HTTP.String(), false, accept, connect) }()
	go func() { failed <- h.serve(h.At.GRPC.String(), h.To.GRPC.String(), true, accept, connect) }()
	go func() { failed <- h.relay(accept, connect) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

// tls are the settings of both sides; nil where there is none.
func (h Half) tls() (accept, connect *tls.Config, err error) {
	pem, err := os.ReadFile(h.Files.CA)
	if err != nil {
		return nil, nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	base := func(cert, key string) (*tls.Config, error) {
		pair, err := tls.LoadX509KeyPair(cert, key)
		return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}}, err
	}
	if h.Accept {
		if accept, err = base(h.Files.Server, h.Files.ServerKey); err != nil {
			return nil, nil, err
		}
		accept.ClientAuth, accept.ClientCAs = tls.RequireAndVerifyClientCert, pool
	}
	if h.Connect {
		if connect, err = base(h.Files.Client, h.Files.ClientKey); err != nil {
			return nil, nil, err
		}
		connect.RootCAs, connect.ServerName = pool, "inner"
	}
	return accept, connect, nil
}

func (h Half) serve(at, to string, h2 bool, accept, connect *tls.Config) error {
	accept, connect = accept.Clone(), connect.Clone() // server and transport add protocols of their own
	var protocols http.Protocols
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2 && accept != nil)
	protocols.SetUnencryptedHTTP2(h2 && accept == nil)
	var upstream http.Protocols
	upstream.SetHTTP1(!h2)
	upstream.SetHTTP2(h2 && connect != nil)
	upstream.SetUnencryptedHTTP2(h2 && connect == nil)
	target := &url.URL{Scheme: "http", Host: to}
	if connect != nil {
		target.Scheme = "https"
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{MaxIdleConns: idlePerHost, MaxIdleConnsPerHost: idlePerHost, DisableCompression: true, TLSClientConfig: connect, Protocols: &upstream},
	}
	if h2 {
		proxy.FlushInterval = -1
	}
	server := &http.Server{Addr: at, Handler: proxy, TLSConfig: accept, Protocols: &protocols, ReadHeaderTimeout: time.Minute}
	if accept != nil {
		return server.ListenAndServeTLS("", "")
	}
	return server.ListenAndServe()
}

// relay is the TCP half: io.Copy each way.
func (h Half) relay(accept, connect *tls.Config) error {
	listener, err := net.Listen("tcp", h.At.TCP.String())
	if err != nil {
		return err
	}
	if accept != nil {
		listener = tls.NewListener(listener, accept)
	}
	for {
		from, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer from.Close()
			to, err := net.Dial("tcp", h.To.TCP.String())
			if err != nil {
				return
			}
			if connect != nil {
				to = tls.Client(to, connect)
			}
			defer to.Close()
			go func() {
				defer to.Close()
				_, _ = io.Copy(to, from) // either side may go at any time
			}()
			_, _ = io.Copy(from, to)
		}()
	}
}
