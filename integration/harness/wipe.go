package harness

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// Wipe stops the control plane and loses its store and its first authority, as when the disk of that machine is lost. The etcd
// cluster of a split mesh is made anew, empty. Sidecars and their state directories stay.
func (m *Mesh) Wipe(ctx context.Context) error {
	for _, in := range slices.Backward(m.instances) {
		if err := m.End(in.Name, syscall.SIGTERM); err != nil {
			return err
		}
	}
	for _, name := range []string{"etcd", "ca", "admin.token", "bundle.pem"} {
		if err := os.RemoveAll(filepath.Join(m.authorityDir(), name)); err != nil {
			return err
		}
	}
	if len(m.members) == 0 {
		return nil
	}
	for _, member := range m.members {
		member.Kill()
	}
	if err := m.Replace(func(*Member, string, string) error { return nil }); err != nil {
		return err
	}
	return m.EtcdHealthy(ctx)
}

// UpAll starts every instance that does not run, in their order.
func (m *Mesh) UpAll(ctx context.Context) error {
	for _, in := range m.instances {
		if err := m.Up(ctx, in.Name); err != nil {
			return err
		}
	}
	return nil
}
