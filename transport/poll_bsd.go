//go:build unix && !linux

package transport

const fionread = 0x4004667f // FIONREAD
