package harness

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// startEtcd starts a real etcd server and waits until it serves.
func (m *Mesh) startEtcd(ctx context.Context) error {
	client, err := m.opts.Ports.Port()
	if err != nil {
		return err
	}
	peer, err := m.opts.Ports.Port()
	if err != nil {
		return err
	}
	m.etcd = fmt.Sprintf("http://127.0.0.1:%d", client)
	peerURL := fmt.Sprintf("http://127.0.0.1:%d", peer)
	m.store, err = Command{Name: "etcd", Log: filepath.Join(m.opts.Dir, "etcd.log"), Args: []string{
		filepath.Join(m.opts.Bin, "etcd"),
		"--name", "e1", "--data-dir", filepath.Join(m.opts.Dir, "etcd"), "--log-level", "error",
		"--listen-client-urls", m.etcd, "--advertise-client-urls", m.etcd,
		"--listen-peer-urls", peerURL, "--initial-advertise-peer-urls", peerURL, "--initial-cluster", "e1=" + peerURL,
	}}.Start()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return Eventually(ctx, func() error { return getOK(ctx, m.etcd+"/health") })
}
