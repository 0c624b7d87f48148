package clock

// machineClock is a clock that reads the same in all processes of the machine: CLOCK_MONOTONIC,
// which package unix lacks here.
const machineClock = 3
