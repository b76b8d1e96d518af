package callback

import (
	"testing"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
)

func TestMain(m *testing.M) { brokertest.VerifyMain(m) }
