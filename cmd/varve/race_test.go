//go:build race

package main

// raceDetector reports whether the tests have the race detector.
const raceDetector = true
