package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/services/internal/atomicfile"
)

// PortsFile is the file in the run directory that says where the services of this machine listen.
const PortsFile = "ports.json"

// Ports says where services listen, by name.
type Ports map[string]ServicePorts

// ServicePorts are one service's addresses, host:port.
type ServicePorts struct {
	// GRPC is the service's API.
	GRPC string `json:"grpc"`
	// Admin is health, metrics and pprof.
	Admin string `json:"admin"`
	// REST is the gateway's REST API and console; empty for others.
	REST string `json:"rest,omitempty"`
}

func (p *process) ports() Ports {
	ports := Ports{}
	for _, u := range p.units {
		s := ServicePorts{GRPC: u.grpcListener.Addr().String(), Admin: u.adminListener.Addr().String()}
		if u.name == Gateway {
			s.REST = u.restAddress
		}
		ports[u.name] = s
	}
	return ports
}

// ReadPorts reads what the running services of this machine have written.
func ReadPorts(runDir string) (Ports, error) {
	ports := Ports{}
	text, err := os.ReadFile(filepath.Join(runDir, PortsFile))
	if err != nil {
		return nil, fmt.Errorf("read ports of the control plane: %w", err)
	}
	if err := json.Unmarshal(text, &ports); err != nil {
		return nil, fmt.Errorf("read ports of the control plane from %s: %w", runDir, err)
	}
	return ports, nil
}

// writePorts adds this process's services to the file, beside those of other processes that share the run directory, and
// returns what takes them out again.
func writePorts(runDir string, own Ports) (remove func(), err error) {
	if err := editPorts(runDir, func(all Ports) { maps.Copy(all, own) }); err != nil {
		return nil, err
	}
	return func() {
		_ = editPorts(runDir, func(all Ports) { // what stays behind is overwritten by the next process
			maps.DeleteFunc(all, func(service string, at ServicePorts) bool { return own[service] == at })
		})
	}, nil
}

func editPorts(runDir string, edit func(Ports)) error {
	lock, err := os.OpenFile(filepath.Join(runDir, "."+PortsFile+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("write ports: %w", err)
	}
	defer func() { _ = lock.Close() }() // which releases the lock
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("write ports: lock: %w", err)
	}
	ports, err := ReadPorts(runDir)
	if err != nil {
		ports = Ports{} // not there yet, or not worth keeping
	}
	edit(ports)
	path := filepath.Join(runDir, PortsFile)
	if len(ports) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove ports: %w", err)
		}
		return nil
	}
	text, err := json.MarshalIndent(ports, "", "  ")
	if err != nil {
		return fmt.Errorf("encode ports: %w", err)
	}
	return atomicfile.Write(path, append(text, '\n'), 0o644) // addresses are no secret
}
