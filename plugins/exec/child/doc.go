// Package child runs one untrusted program as a process of its own, and leaves nothing of it behind.
//
//   - What runs is what was checked. The file is opened once; owner, mode and checksum are those of that descriptor, and on Linux that very
//     descriptor is executed when a checksum is set (/proc/self/fd/3), so nobody can swap the file in between. Elsewhere a private copy of it is
//     executed. A script can be given as the program too, if it begins with #!; the interpreter is then the system's.
//   - It sees little: an environment built from an allow list, three pipes, no other descriptor.
//   - It ends with evosink: the process leads a group of its own, which is killed as a whole when the process ends or is to end. On Linux the
//     kernel kills the process when evosink dies. A descendant that leaves the group (setsid) escapes; what keeps it in is a container.
//
// Limits of memory, users and files are not reinvented here: systemd and containers set them.
package child
