// Arguments of an entry point, converted to whatever the kernel's parameter is.
#pragma once
#include <cstring>
#include <type_traits>

namespace wl {

struct Pointer {
  void* address;
  template <class T> operator T*() const { return static_cast<T*>(const_cast<std::remove_cv_t<T>*>(static_cast<T*>(address))); }
};

// A value by its bytes: structs, half and bfloat16.
struct Bytes {
  const void* address;
  template <class T> operator T() const {
    std::remove_cv_t<T> value;
    std::memcpy(&value, address, sizeof value);
    return value;
  }
};

}  // namespace wl

namespace wl {

// Fills a __constant__ symbol with `count` values; returns how many elements it has.
template <class T>
inline long set_constant(T& symbol, const double* values, long count) {
  using Element = std::remove_cv_t<std::remove_all_extents_t<T>>;
  constexpr long room = sizeof(T) / sizeof(Element);
  Element* to = reinterpret_cast<Element*>(const_cast<std::remove_cv_t<T>*>(&symbol));
  for (long i = 0; i < count && i < room; ++i) to[i] = static_cast<Element>(values[i]);
  return room;
}

}  // namespace wl
