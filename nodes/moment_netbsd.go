package nodes

// machineClock is the same for all processes of the machine: CLOCK_MONOTONIC, which package unix lacks here.
const machineClock = 3
