package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Member is one member of the mesh's etcd cluster. Everybody, its peers too, reaches it through relays that can be cut.
type Member struct {
	// Name of it: "etcd-1".
	Name string
	// Dir holds its data.
	Dir string
	// PeerURL is where its peers reach it.
	PeerURL string

	listenClient, listenPeer string // where it listens itself
	client, peers            *Relay
	process                  *Process
	bin, log                 string
}

// startEtcd starts a real etcd cluster and waits until it serves.
func (m *Mesh) startEtcd(ctx context.Context) error {
	for i := range max(1, m.opts.Members) {
		member, err := m.newMember(fmt.Sprintf("etcd-%d", i+1))
		if err != nil {
			return err
		}
		m.members = append(m.members, member)
	}
	for _, member := range m.members {
		if err := member.start(m.initialCluster(), "new", "weft-test"); err != nil {
			return err
		}
	}
	return m.EtcdHealthy(ctx)
}

func (m *Mesh) newMember(name string) (*Member, error) {
	var url [2]string
	var relay [2]*Relay
	for i := range url {
		port, err := m.opts.Ports.Port()
		if err != nil {
			return nil, err
		}
		front, err := m.opts.Ports.Port()
		if err != nil {
			return nil, err
		}
		address := fmt.Sprintf("127.0.0.1:%d", port)
		if relay[i], err = NewRelay(fmt.Sprintf("127.0.0.1:%d", front), address); err != nil {
			return nil, err
		}
		url[i] = "http://" + address
	}
	return &Member{
		Name: name, Dir: filepath.Join(m.opts.Dir, name), listenClient: url[0], listenPeer: url[1], client: relay[0], peers: relay[1],
		PeerURL: "http://" + relay[1].Address(), bin: filepath.Join(m.opts.Bin, "etcd"), log: filepath.Join(m.opts.Dir, name+".log"),
	}, nil
}

func (m *Mesh) initialCluster() string {
	var parts []string
	for _, member := range m.members {
		parts = append(parts, member.Name+"="+member.PeerURL)
	}
	return strings.Join(parts, ",")
}

// start starts a member. A data directory that is there wins over cluster, state and token.
func (e *Member) start(cluster, state, token string) (err error) {
	e.process, err = Command{Name: e.Name, Log: e.log, Args: []string{
		e.bin, "--name", e.Name, "--data-dir", e.Dir, "--log-level", "error",
		"--listen-client-urls", e.listenClient, "--advertise-client-urls", "http://" + e.client.Address(),
		"--listen-peer-urls", e.listenPeer, "--initial-advertise-peer-urls", e.PeerURL,
		"--initial-cluster", cluster, "--initial-cluster-state", state, "--initial-cluster-token", token,
	}}.Start()
	return err
}

// Members are the members of the cluster, in order of their names.
func (m *Mesh) Members() []*Member { return m.members }

// EtcdEndpoints are where the control plane reaches the cluster.
func (m *Mesh) EtcdEndpoints() []string {
	var out []string
	for _, member := range m.members {
		out = append(out, "http://"+member.client.Address())
	}
	return out
}

// EtcdHealthy waits until every member says that it takes writes.
func (m *Mesh) EtcdHealthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	for _, member := range m.members {
		err := Eventually(ctx, func() error {
			if member.process.Ended() {
				return Fatal{Err: errors.New(member.Name + " has ended")}
			}
			return getOK(ctx, member.listenClient+"/health")
		})
		if err != nil {
			return fmt.Errorf("%s: %w", member.Name, err)
		}
	}
	return nil
}

// Client is where the member itself listens for clients, past the relay.
func (e *Member) Client() string { return e.listenClient }

// Kill ends the member as a loss of power does.
func (e *Member) Kill() {
	e.process.Signal(syscall.SIGKILL)
	e.process.Wait(10 * time.Second)
}

// Restart starts a member that was killed, with the data that it has.
func (e *Member) Restart() error { return e.start(e.Name+"="+e.PeerURL, "existing", "") }

// Running says whether the member's process is there, paused or not.
func (e *Member) Running() bool { return !e.process.Ended() }

// Pause stops the member's process where it is, as a disk that does not answer does; Resume lets it go on.
func (e *Member) Pause() { e.process.Signal(syscall.SIGSTOP) }

// Resume lets a paused member go on.
func (e *Member) Resume() { e.process.Signal(syscall.SIGCONT) }

// Cut takes the member away from the control plane (its peers still reach it), or from its peers.
func (e *Member) Cut(peers bool) {
	if peers {
		e.peers.Cut()
		return
	}
	e.client.Cut()
}

// Heal takes back everything that Cut did.
func (e *Member) Heal() {
	e.client.Heal()
	e.peers.Heal()
}

// Replace puts other data into a cluster all of whose members were killed: fill writes the directory of each, which is made new.
func (m *Mesh) Replace(fill func(member *Member, cluster, token string) error) error {
	cluster, token := m.initialCluster(), fmt.Sprintf("restored-%d", time.Now().UnixNano())
	for _, member := range m.members {
		if member.Running() {
			return fmt.Errorf("%s still runs", member.Name)
		}
		if err := os.RemoveAll(member.Dir); err != nil {
			return err
		}
		if err := fill(member, cluster, token); err != nil {
			return fmt.Errorf("fill %s: %w", member.Name, err)
		}
	}
	for _, member := range m.members {
		if err := member.start(cluster, "new", token); err != nil {
			return err
		}
	}
	return nil
}

func (e *Member) end() {
	if e.process != nil {
		e.Resume()
		e.process.End()
	}
	e.client.Close()
	e.peers.Close()
}
