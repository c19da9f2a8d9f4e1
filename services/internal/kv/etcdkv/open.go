package etcdkv

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Config says where the cluster is.
type Config struct {
	// Endpoints as host:port or URLs.
	Endpoints []string
	// CAFile, CertFile and KeyFile are PEM files for TLS; all empty: no TLS, unless an endpoint says https.
	CAFile, CertFile, KeyFile string
	// User and Password, where the cluster has authentication.
	User, Password string
	// Log gets what goes wrong in the background.
	Log *zap.Logger
}

// Open makes a store of a cluster. It does not wait for the cluster to answer.
func Open(cfg Config) (*Store, error) {
	conf, err := tlsConfig(cfg)
	if err != nil {
		return nil, err
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            cfg.Endpoints,
		TLS:                  conf,
		Username:             cfg.User,
		Password:             cfg.Password,
		DialKeepAliveTime:    5 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
		Logger:               cfg.Log.WithOptions(zap.IncreaseLevel(zap.ErrorLevel)), // its warnings are retries
	})
	if err != nil {
		return nil, fmt.Errorf("make client of etcd at %q: %w", cfg.Endpoints, err)
	}
	return New(client, cfg.Log), nil
}

func tlsConfig(cfg Config) (*tls.Config, error) {
	if cfg.CAFile == "" && cfg.CertFile == "" {
		return nil, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read etcd's CA: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read etcd's CA: %s holds no PEM certificate", cfg.CAFile)
		}
	}
	if cfg.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read the client certificate for etcd: %w", err)
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	return conf, nil
}
