// A Python module made of C++ functions: `PYBIND11_MODULE(name, m) { m.def("forward", &forward, "text", py::arg("x") = 1); }`
// on the plain C API. Arguments are tensors, numbers, strings, lists of these, and optional ones.
#pragma once
#include <Python.h>

#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

extern PyObject* THPVariableClass;                        // torch.Tensor
PyObject* THPVariable_Wrap(const at::TensorBase& tensor);  // a new reference

namespace pybind11 {

struct error_already_set {};  // Python's own error is set

namespace narrow {

struct Free {
  void operator()(PyObject* o) const { Py_XDECREF(o); }
};
using Object = std::unique_ptr<PyObject, Free>;

inline Object checked(PyObject* o) {
  if (!o) throw error_already_set{};
  return Object(o);
}

// From<T>::load takes a Python object, or says no; get() is what the function is called with.
template <class T, class = void> struct From;

template <> struct From<at::Tensor> {
  at::Tensor value;
  bool load(PyObject* o) {
    if (PyObject_IsInstance(o, THPVariableClass) != 1) return PyErr_Clear(), false;
    Object address = checked(PyObject_GetAttrString(o, "_cdata"));
    auto* held = static_cast<at::TensorImpl*>(PyLong_AsVoidPtr(address.get()));
    value = at::Tensor(c10::intrusive_ptr<at::TensorImpl, at::UndefinedTensorImpl>::unsafe_reclaim_from_nonowning(held));
    return true;
  }
  at::Tensor& get() { return value; }
};

template <> struct From<bool> {
  bool value = false;
  bool load(PyObject* o) { return PyBool_Check(o) ? (value = o == Py_True, true) : false; }
  bool& get() { return value; }
};

template <class T> struct From<T, std::enable_if_t<std::is_integral_v<T> && !std::is_same_v<T, bool>>> {
  T value = 0;
  bool load(PyObject* o) {
    if (PyFloat_Check(o) || !PyIndex_Check(o)) return false;
    Object whole = checked(PyNumber_Index(o));
    const long long wide = PyLong_AsLongLong(whole.get());
    if (PyErr_Occurred()) return PyErr_Clear(), false;
    value = static_cast<T>(wide);
    return static_cast<long long>(value) == wide;
  }
  T& get() { return value; }
};

template <class T> struct From<T, std::enable_if_t<std::is_floating_point_v<T>>> {
  T value = 0;
  bool load(PyObject* o) {
    value = static_cast<T>(PyFloat_AsDouble(o));
    return PyErr_Occurred() ? (PyErr_Clear(), false) : true;
  }
  T& get() { return value; }
};

template <> struct From<std::string> {
  std::string value;
  bool load(PyObject* o) {
    const char* text = PyUnicode_Check(o) ? PyUnicode_AsUTF8(o) : nullptr;
    return text ? (value = text, true) : false;
  }
  std::string& get() { return value; }
};

template <> struct From<at::Scalar> {
  at::Scalar value;
  bool load(PyObject* o) {
    if (PyBool_Check(o)) return value = o == Py_True, true;
    if (PyLong_Check(o)) return value = static_cast<int64_t>(PyLong_AsLongLong(o)), !PyErr_Occurred();
    if (PyFloat_Check(o)) return value = PyFloat_AsDouble(o), true;
    return false;
  }
  at::Scalar& get() { return value; }
};

template <class T> struct From<std::vector<T>> {
  std::vector<T> value;
  bool load(PyObject* o) {
    if (!PySequence_Check(o) || PyUnicode_Check(o) || PyBytes_Check(o)) return false;  // an nn.ParameterList is a sequence too
    const Py_ssize_t n = PySequence_Size(o);
    if (n < 0) return PyErr_Clear(), false;
    value.clear();
    for (Py_ssize_t i = 0; i < n; ++i) {
      Object item = checked(PySequence_GetItem(o, i));
      From<T> one;
      if (!one.load(item.get())) return false;
      value.push_back(one.get());
    }
    return true;
  }
  std::vector<T>& get() { return value; }
};

template <class T, size_t N> struct From<std::array<T, N>> {
  std::array<T, N> value;
  bool load(PyObject* o) {
    From<std::vector<T>> items;
    if (!items.load(o) || items.value.size() != N) return false;
    std::copy(items.value.begin(), items.value.end(), value.begin());
    return true;
  }
  std::array<T, N>& get() { return value; }
};

template <class T> struct From<c10::ArrayRef<T>> : From<std::vector<T>> {
  c10::ArrayRef<T> get() { return this->value; }
};

template <class T> struct From<std::optional<T>> {
  std::optional<T> value;
  bool load(PyObject* o) {
    if (o == Py_None) return value.reset(), true;
    From<T> one;
    if (!one.load(o)) return false;
    value = one.get();
    return true;
  }
  std::optional<T>& get() { return value; }
};

inline Object to(const at::Tensor& t) { return t.defined() ? checked(THPVariable_Wrap(t)) : Object(Py_NewRef(Py_None)); }
inline Object to(bool value) { return checked(PyBool_FromLong(value)); }
template <class T> std::enable_if_t<std::is_integral_v<T>, Object> to(T value) { return checked(PyLong_FromLongLong(value)); }
inline Object to(double value) { return checked(PyFloat_FromDouble(value)); }
inline Object to(const std::string& text) { return checked(PyUnicode_FromStringAndSize(text.data(), text.size())); }
inline Object to(const char* text) { return to(std::string(text)); }
inline Object to(std::nullopt_t) { return Object(Py_NewRef(Py_None)); }
template <class T> Object to(const std::optional<T>& value);
template <class T> Object to(const std::vector<T>& values);
template <class... T> Object to(const std::tuple<T...>& values);
template <class A, class B> Object to(const std::pair<A, B>& both) { return to(std::tuple<A, B>(both.first, both.second)); }

template <class T> Object to(const std::optional<T>& value) { return value ? to(*value) : to(std::nullopt); }
template <class T> Object to(const std::vector<T>& values) {
  Object list = checked(PyList_New(0));
  for (const auto& value : values) {
    if (PyList_Append(list.get(), to(value).get())) throw error_already_set{};
  }
  return list;
}
template <class... T> Object to(const std::tuple<T...>& values) {
  Object made = checked(PyTuple_New(sizeof...(T)));
  Py_ssize_t at = 0;
  std::apply([&](const auto&... each) { (PyTuple_SET_ITEM(made.get(), at++, to(each).release()), ...); }, values);
  return made;
}

struct Parameter {
  std::string name;
  std::shared_ptr<PyObject> value;  // the default, or null
};

struct Overload {
  size_t count;
  std::vector<Parameter> named;
  std::function<Object(PyObject** args)> call;  // null without an error where the arguments do not fit
};

using Overloads = std::vector<Overload>;

// The arguments in the order of the parameters, borrowed; empty where they do not fit.
inline std::vector<PyObject*> placed(const Overload& o, PyObject* args, PyObject* keywords) {
  std::vector<PyObject*> found(o.count, nullptr);
  const size_t given = PyTuple_GET_SIZE(args), extra = keywords ? PyDict_Size(keywords) : 0;
  if (given > o.count) return {};
  for (size_t i = 0; i < given; ++i) found[i] = PyTuple_GET_ITEM(args, i);
  size_t used = 0;
  for (size_t i = given; i < o.count; ++i) {
    if (i >= o.named.size()) return {};
    PyObject* value = keywords ? PyDict_GetItemString(keywords, o.named[i].name.c_str()) : nullptr;
    used += value != nullptr;
    found[i] = value ? value : o.named[i].value.get();
    if (!found[i]) return {};
  }
  return used == extra ? found : std::vector<PyObject*>{};
}

inline PyObject* failed(PyObject* kind, const std::exception& problem) {
  PyErr_SetString(kind, problem.what());
  return nullptr;
}

inline PyObject* dispatch(PyObject* self, PyObject* args, PyObject* keywords) {
  auto* overloads = static_cast<Overloads*>(PyCapsule_GetPointer(self, nullptr));
  try {
    for (const Overload& o : *overloads) {
      auto values = placed(o, args, keywords);
      if (values.size() != o.count) continue;
      values.push_back(nullptr);  // so that a function without parameters has an address to read from
      if (Object result = o.call(values.data())) return result.release();
    }
    PyErr_SetString(PyExc_TypeError, "incompatible function arguments");
    return nullptr;
  } catch (const error_already_set&) {
    return nullptr;
  } catch (const c10::IndexError& problem) {
    return failed(PyExc_IndexError, problem);
  } catch (const c10::ValueError& problem) {
    return failed(PyExc_ValueError, problem);
  } catch (const c10::TypeError& problem) {
    return failed(PyExc_TypeError, problem);
  } catch (const c10::NotImplementedError& problem) {
    return failed(PyExc_NotImplementedError, problem);
  } catch (const c10::Error& problem) {
    PyErr_SetString(PyExc_RuntimeError, problem.what_without_backtrace());
    return nullptr;
  } catch (const std::invalid_argument& problem) {
    return failed(PyExc_ValueError, problem);
  } catch (const std::domain_error& problem) {
    return failed(PyExc_ValueError, problem);
  } catch (const std::length_error& problem) {
    return failed(PyExc_ValueError, problem);
  } catch (const std::out_of_range& problem) {
    return failed(PyExc_IndexError, problem);
  } catch (const std::exception& problem) {
    return failed(PyExc_RuntimeError, problem);
  }
}

template <class R, class... A, class F, size_t... I> Object invoke(F& f, PyObject** args, std::index_sequence<I...>) {
  std::tuple<From<std::decay_t<A>>...> values;
  if (!(std::get<I>(values).load(args[I]) && ...)) return nullptr;
  if constexpr (std::is_void_v<R>) {
    f(static_cast<A>(std::get<I>(values).get())...);
    return to(std::nullopt);
  } else {
    return to(f(static_cast<A>(std::get<I>(values).get())...));
  }
}

template <class R, class... A> struct Signature {};
template <class R, class... A> Signature<R, A...> signature(R (*)(A...)) { return {}; }
template <class C, class R, class... A> Signature<R, A...> method(R (C::*)(A...) const) { return {}; }
template <class C, class R, class... A> Signature<R, A...> method(R (C::*)(A...)) { return {}; }
template <class F> auto signature(const F&) -> decltype(method(&F::operator())) { return {}; }

template <class F, class R, class... A> Overload overload(F f, Signature<R, A...>) {
  auto call = [f](PyObject** args) mutable { return invoke<R, A...>(f, args, std::index_sequence_for<A...>{}); };
  return {sizeof...(A), {}, call};
}

}  // namespace narrow

struct arg {
  narrow::Parameter parameter;
  explicit arg(const char* name) : parameter{name, nullptr} {}
  template <class T> arg& operator=(const T& value) {
    parameter.value = std::shared_ptr<PyObject>(narrow::to(value).release(), narrow::Free{});
    return *this;
  }
  arg& none(bool = true) { return *this; }
  arg& noconvert(bool = true) { return *this; }
};

class module_ {
 public:
  explicit module_(PyObject* made) : made_(made) {}
  template <class F, class... Extra> module_& def(const char* name, F f, const Extra&... extra) {
    auto one = narrow::overload(f, narrow::signature(f));
    (take(one, extra), ...);
    overloads(name)->push_back(std::move(one));
    return *this;
  }
  std::string& doc() { return doc_; }

 private:
  static void take(narrow::Overload& o, const arg& a) { o.named.push_back(a.parameter); }
  static void take(narrow::Overload&, const char*) {}
  narrow::Overloads* overloads(const char* name) {
    for (auto& [known, found] : functions_) {
      if (known == name) return found;
    }
    auto* made = new narrow::Overloads;  // as long-lived as the module
    auto* method = new PyMethodDef{strdup(name), reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&narrow::dispatch)),
                                   METH_VARARGS | METH_KEYWORDS, nullptr};
    narrow::Object self = narrow::checked(PyCapsule_New(made, nullptr, nullptr));
    narrow::Object function = narrow::checked(PyCFunction_New(method, self.get()));
    if (PyModule_AddObjectRef(made_, name, function.get())) throw error_already_set{};
    functions_.emplace_back(name, made);
    return made;
  }

  PyObject* made_;
  std::string doc_;
  std::vector<std::pair<std::string, narrow::Overloads*>> functions_;
};
using module = module_;

namespace narrow {
inline PyObject* open(PyModuleDef* definition, void (*fill)(module_&)) {
  PyObject* made = PyModule_Create(definition);
  if (!made) return nullptr;
  try {
    module_ m(made);
    fill(m);
    return made;
  } catch (const error_already_set&) {
  } catch (const std::exception& problem) {
    PyErr_SetString(PyExc_ImportError, problem.what());
  }
  Py_DECREF(made);
  return nullptr;
}
}  // namespace narrow
}  // namespace pybind11

namespace py = pybind11;

#define WL_MODULE(name, variable)                                                                   \
  static void wl_fill_##name(pybind11::module_&);                                                   \
  extern "C" __attribute__((visibility("default"))) PyObject* PyInit_##name() {                      \
    static PyModuleDef definition = {PyModuleDef_HEAD_INIT, #name, nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr}; \
    return pybind11::narrow::open(&definition, &wl_fill_##name);                                    \
  }                                                                                                 \
  static void wl_fill_##name(pybind11::module_& variable)
#define PYBIND11_MODULE(name, variable, ...) WL_MODULE(name, variable)
