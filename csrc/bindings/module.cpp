#include "bindings/bindings.h"

NB_MODULE(_native, m) {
  m.doc() = "The native engine. Use it through vajra.engine.";
  vajra::bindings::bind_ops(m);
  vajra::bindings::bind_engine(m);
}
