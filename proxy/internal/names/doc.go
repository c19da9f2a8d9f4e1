// Package names gives a captured program the names of the mesh's services: it keeps the file that is the program's /etc/hosts in
// step with the index, each service with its virtual address. DNS stays the platform's.
package names
