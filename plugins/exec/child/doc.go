// Package child runs one untrusted program as a process of its own, and leaves nothing of it behind.
//
//   - What runs is what was checked. The file is opened once; mode and checksum are those of that descriptor, and on
//     Linux that very descriptor is executed when a checksum is set (/proc/self/fd/3), so the file cannot be swapped in
//     between. Elsewhere a private copy of it is executed. A file, or a folder on the way to it, that its group or
//     every user can write to is refused. A script can be given as the program too, if it begins with #!; the
//     interpreter is then the system's.
//   - It sees little: an environment built from an allow list, three pipes, no other descriptor. On Linux it cannot
//     read this process's environment, memory and descriptors through /proc either: the process is made undumpable
//     before the first child starts, which also denies it to debuggers and to core dumps. A child of root with
//     CAP_SYS_PTRACE reads them even so, and a child can read files that its user can: secrets in files, the
//     database. Where that matters, the child belongs under another user or in a container of its own.
//   - It ends with evosink, and so does what it has started. The process leads a group of its own, which is killed as
//     a whole when the process ends or is to end. On Linux a variable of its environment marks the process and all
//     that descends from it: what has left the group (setsid, a daemon) is found by that and killed too. The kernel
//     kills the process when evosink is killed, and a guard the rest, see [Guard]; without a guard, that happens when
//     the next evosink starts its first child. What has both left the group and cleared its environment escapes, and
//     so does what forks faster than it is found; a container keeps these in.
//
// Limits of memory, users and files are not reinvented here: systemd and containers set them.
package child
