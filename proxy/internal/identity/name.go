package identity

import (
	"strconv"
	"strings"
)

// The protocols of the mesh hop.
const (
	ALPNHTTP1 = "weft-h1/1"
	ALPNHTTP2 = "weft-h2/1"
	ALPNTCP   = "weft-tcp/1"
	ALPNUDP   = "weft-udp/1"
)

// sniSuffix ends every server name of the mesh hop.
const sniSuffix = ".weft"

// ServerName is the SNI for a service ("namespace/name") and the port of its app: "<target-port>.<name>.<namespace>.weft".
func ServerName(service string, targetPort uint16) string {
	namespace, name, _ := strings.Cut(service, "/")
	return strconv.Itoa(int(targetPort)) + "." + name + "." + namespace + sniSuffix
}

// ParseServerName is the inverse of ServerName.
func ParseServerName(sni string) (service string, targetPort uint16, ok bool) {
	rest, ok := strings.CutSuffix(sni, sniSuffix)
	if !ok {
		return "", 0, false
	}
	port, rest, _ := strings.Cut(rest, ".")
	name, namespace, ok := strings.Cut(rest, ".")
	if !ok || name == "" || namespace == "" || strings.Contains(namespace, ".") {
		return "", 0, false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || port[0] < '1' || port[0] > '9' {
		return "", 0, false
	}
	return namespace + "/" + name, uint16(n), true
}
