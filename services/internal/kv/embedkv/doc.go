// Package embedkv is a kv.Store in an etcd that runs inside this process, with its data in one directory: the default for one
// machine. It is etcdkv around a server without any socket: nobody else on the machine can reach it, and no port is taken.
//
// Every acknowledged write is on disk (fsync), so that SIGKILL and power loss take none back. One process at a time has a
// directory. History is compacted by the hour.
package embedkv
