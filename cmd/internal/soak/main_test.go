package soak

import (
	"os"
	"os/signal"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
)

// idle, in the environment, makes this program one that waits to be killed: the processes of TestProcess.
const idle = "SOAK_TEST_IDLE"

func TestMain(m *testing.M) {
	switch os.Getenv(idle) {
	case "":
		brokertest.VerifyMain(m)
	case "ends":
		os.Exit(3)
	default:
		c := make(chan os.Signal, 1)
		signal.Notify(c, os.Interrupt)
		<-c
	}
}
