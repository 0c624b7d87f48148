// Package neighbours tests a node of this module beside the programs that people run it next to:
// Elixir, RabbitMQ and ejabberd, from the distribution's packages, each with OTP 27.
// test/prepare.sh makes the root file system that they are in.
package neighbours
