// The compiled half of Asio's TLS, apart from asio_impl.cc: not every program with an event loop
// speaks TLS.
#include <boost/asio/ssl/impl/src.hpp>
